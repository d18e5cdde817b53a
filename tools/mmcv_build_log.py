"""What pip's output says while it builds mmcv: how far it is, and why it failed."""

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from typing import TextIO

# mmcv 2.1.0's setup.py and mmengine 0.10 import pkg_resources, which setuptools is about to lose.
BUILD_TOOLS = ("setuptools>=77,<80", "wheel", "ninja", "psutil", "packaging")
# The operators' compilation in seconds, summed over all cores (mmcv 2.1.0, a server's cores):
# in joined units, and file by file. No unit takes less than torch's headers.
JOINED_SECONDS, APART_SECONDS, HEADER_SECONDS = 75, 750, 20

_CXX = r"(?:[\w./+-]*-)?(?:g\+\+|c\+\+|gcc|cc|clang\+*)"
# What a log says, and what to do about it; the first that matches is shown.
_HINTS = {
    r"No module named '?pkg_resources": f"{{python}} -m pip install {shlex.join(BUILD_TOOLS)}",
    r"No module named '?torch\b": "{python} -m pip install torch",
    r"CUDA_HOME environment variable is not set|No such file or directory: '\S*nvcc'": (
        "torch sees a GPU but the CUDA toolkit is missing: install it and set CUDA_HOME, or build "
        "for the CPU alone (and run so): CUDA_VISIBLE_DEVICES= {command}"
    ),
    r"CUDA version .* mismatches the version": (
        "the CUDA toolkit and torch disagree: point CUDA_HOME to the toolkit that torch was built "
        "with ({python} -c 'import torch; print(torch.version.cuda)')"
    ),
    r"Killed signal|[Kk]illed \(program cc1plus\)|memory exhausted|Cannot allocate memory": (
        "the compiler ran out of memory: MAX_JOBS=1 {command}"
    ),
    r"No space left on device": "the disk is full: free 2 GB, or set TMPDIR to a larger place",
    r"Python\.h: No such file": (
        "Python's headers are missing: apt-get install python3-dev (dnf: python3-devel)"
    ),
    rf"command '{_CXX}' failed: No such file|No such file or directory: '{_CXX}'"
    rf"|{_CXX}: (?:command )?not found": (
        "there is no C++ compiler: apt-get install g++ (dnf: gcc-c++; macOS: Xcode's tools)"
    ),
    r"Could not find a version|No matching distribution|Temporary failure in name resolution"
    r"|ConnectionError|Connection (?:refused|timed out|broken)|Max retries exceeded": (
        "pip found no index that has it: check the network, the proxy (HTTPS_PROXY) or --index-url"
    ),
}


def first_errors(log: str, count: int = 5) -> list[str]:
    """The first lines in which a compiler reports an error; those behind follow from them."""
    found = [line.strip() for line in log.splitlines() if re.search(r"\berror: ", line)]
    return list(dict.fromkeys(found))[:count]


def hint_for(log: str, command: str) -> str:
    """The likely way out of a failed build.

    Args:
        log: What pip printed.
        command: The command line that failed, for fixes that repeat it.
    """
    for pattern, hint in _HINTS.items():
        if re.search(pattern, log):
            return hint.format(python=sys.executable, command=command)
    return "not known; the whole log names the file at which the compiler stopped"


@dataclass
class BuildProgress:
    """Reads pip's verbose output line by line; knows the phase and the files compiled so far.

    Args:
        joined: Whether what compiles are units of many files.
    """

    joined: bool = False
    phase: str = "starting"
    done: int = 0
    total: int = 0
    compiling_since: float | None = None
    last_done_at: float = 0.0
    _objects: set[str] = field(default_factory=set)

    # ninja's count; distutils, which builds where ninja is missing, only echoes its commands.
    _COUNTED = re.compile(r"^\s*\[(\d+)/(\d+)\]\s")
    _COMPILED = re.compile(r"\s-c\s+\S+\.(?:cpp|cu|mm)\s.*-o\s+(\S+\.o)\b")
    _PHASES = (
        (re.compile(r"^\s*Downloading "), "downloading"),
        (re.compile(r"Preparing metadata|Getting requirements"), "reading metadata"),
        (re.compile(r"building 'mmcv\._ext' extension"), "compiling"),
        (re.compile(r"\s-shared\s.*_ext\S*\.(?:so|dylib)"), "linking"),
        (re.compile(r"^\s*(?:installing to|creating '\S+\.whl'|adding 'mmcv)"), "packing"),
        (re.compile(r"^Installing collected packages"), "installing"),
    )

    def feed(self, line: str, now: float) -> None:
        """Take one line of output that appeared at ``now`` (seconds, any origin)."""
        counted = self._COUNTED.match(line)
        compiled = self._COMPILED.search(line)
        if counted:
            self._note(int(counted[1]), int(counted[2]), now)
        elif compiled and not self.total:
            self._objects.add(compiled[1])
            self._note(len(self._objects), 0, now)
        else:
            self._enter_phase(line, now)

    def _note(self, done: int, total: int, now: float) -> None:
        self.phase, self.done, self.total, self.last_done_at = "compiling", done, total, now
        if self.compiling_since is None:
            self.compiling_since = now

    def _enter_phase(self, line: str, now: float) -> None:
        for pattern, phase in self._PHASES:
            if pattern.search(line):
                self.phase = phase
                if phase == "compiling" and self.compiling_since is None:
                    self.compiling_since = now
                return

    def expected(self) -> float:
        """Seconds that the compilation may take on this machine, before anything is known."""
        seconds = (JOINED_SECONDS if self.joined else APART_SECONDS) / cores()
        return max(HEADER_SECONDS, seconds)

    def seconds_left(self, now: float) -> float | None:
        """Estimated rest of the compilation in seconds; ``None`` while nothing is known."""
        if self.compiling_since is None or not self.total:
            return None
        # The first files say little: several are under way that count as nothing yet.
        if self.joined or self.done < 4:
            return max(0.0, self.expected() - (now - self.compiling_since)) or None
        per_file = (self.last_done_at - self.compiling_since) / self.done
        return max(0.0, per_file * (self.total - self.done) - (now - self.last_done_at))

    def describe(self, now: float) -> str:
        """One line for people."""
        if self.phase != "compiling" or self.compiling_since is None:
            return f"mmcv: {self.phase}"
        elapsed = f"{clock(now - self.compiling_since)} so far"
        if not self.total:
            return f"mmcv: compiling, {self.done} files, {elapsed}"
        filled = 20 * self.done // self.total
        left = self.seconds_left(now)
        return (
            f"mmcv: compiling [{'#' * filled}{'.' * (20 - filled)}] "
            f"{100 * self.done // self.total:3d}% {self.done}/{self.total} files, {elapsed}"
            + ("" if left is None else f", {clock(left)} left")
        )


def clock(seconds: float) -> str:
    """``m:ss``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Display:
    """Shows a build's progress: one moving line on a terminal, elsewhere a line now and then.

    Args:
        stream: Where to write.
        interval: Seconds between two lines of one phase, where the stream is no terminal.
    """

    def __init__(self, stream: TextIO, interval: float = 30.0) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self.interval = 1.0 if self.live else interval
        self._shown_at = float("-inf")
        self._phase = ""

    def show(self, progress: BuildProgress, now: float) -> None:
        """Print the progress if its phase is new or the last print is long enough ago."""
        if progress.phase == self._phase and now - self._shown_at < self.interval:
            return
        if progress.phase == "compiling" and self._phase != "compiling":
            self.line(
                f"compiling mmcv's operators once: about {progress.expected():.0f} s on "
                f"{cores()} cores; the result is kept for later environments"
            )
        self._phase, self._shown_at = progress.phase, now
        text = progress.describe(now)
        # A line that wraps could not be overwritten.
        width = shutil.get_terminal_size().columns - 1
        self.stream.write(f"\r{text[:width]}\x1b[K" if self.live else f"{text}\n")
        self.stream.flush()

    def line(self, text: str) -> None:
        """Print a whole line in place of the one that moves."""
        self.stream.write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")
        self.stream.flush()
