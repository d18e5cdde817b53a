"""Peak memory of the process over a part of its life (Linux)."""

import contextlib
import re
from pathlib import Path


def reset_peak() -> None:
    """Let the kernel count the process's peak memory anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Peak memory of this process since :func:`reset_peak`; 0 where it is unknown."""
    with contextlib.suppress(OSError):
        text = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) * 1024
    return 0


def peak_mb() -> int:
    """The same in MB."""
    return round(peak_bytes() / 1e6)
