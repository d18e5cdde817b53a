"""How the process deals with freed memory."""

import ctypes
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = 2**30
_MOST_OF_OLD_GLIBC = 2**25  # its largest threshold for blocks of their own


def keep_freed_memory() -> None:
    """Let the C library keep up to 1 GiB of freed memory for the next allocations.

    By default glibc hands it back to the kernel, and a loop that allocates the same activations in
    every iteration pays for new pages each time. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
    # Setting one of them stops glibc from adapting the other.
    if not mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES):
        mallopt(_M_MMAP_THRESHOLD, _MOST_OF_OLD_GLIBC)
