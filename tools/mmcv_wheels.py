"""mmcv's wheel: fetched, built by pip from joined sources, kept for later environments."""

import importlib.util
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mmcv_build_log import BuildProgress, Display, cores
from mmcv_units import join

# Memory that the compiler takes for torch's headers and many files: 1.2 GiB, with a margin.
GIB_PER_JOB = 2
# More units than jobs balance the cores, and each costs the headers' twenty seconds once more.
UNITS_PER_JOB = 2
# What torch's headers say first, and where mmcv's setup.py sets it.
_LEAST_STANDARD = re.compile(r"C\+\+(\d\d) or later compatible compiler is required")
_STANDARD = re.compile(r"-std=c\+\+(\d\d)")
# A file that is at fault itself, not the machine; such a unit may compile in its parts.
_COMPILE_ERROR = re.compile(r"\.cpp(?:\.part)?:\d+:\d+: (?:fatal )?error: ")


class Pip:
    """Runs pip in this environment; a run that may compile shows how far it is.

    Args:
        log: File that gets the whole output of the runs that are shown.
        display: Where the progress goes.
    """

    def __init__(self, log: Path, display: Display) -> None:
        self.log = log
        self.display = display
        log.write_text("", encoding="utf-8")

    def run(self, *arguments: str | Path, units: int = 0) -> bool:
        """Run pip with what every run here needs. Returns whether it succeeded.

        Args:
            arguments: pip's command and its arguments.
            units: Number of compilation units, where the run builds joined sources.
        """
        command = [sys.executable, "-m", "pip", *map(str, arguments)]
        command += ["-v", "--no-input", "--progress-bar", "off"]
        command += ["--no-deps", "--no-build-isolation"]
        progress = BuildProgress(joined=units > 0)
        with (
            self.log.open("a", encoding="utf-8") as file,
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=_build_environment(),
                start_new_session=True,
            ) as process,
        ):
            try:
                for line in _lines_of(process):
                    file.write(line)
                    progress.feed(line, time.monotonic())
                    self.display.show(progress, time.monotonic())
            except KeyboardInterrupt:
                # pip's children, the compilers, would go on without it.
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        return process.returncode == 0


def _build_environment() -> dict[str, str]:
    env = dict(os.environ, MMCV_WITH_OPS="1", PYTHONUNBUFFERED="1")
    env.setdefault("MAX_JOBS", str(compile_jobs()))
    # Python's own flags ask for debugging symbols: a third of the time, 95 % of the library.
    env["CPPFLAGS"] = f"{env.get('CPPFLAGS', '')} -g0".strip()
    return env


def compile_jobs() -> int:
    """How many compilers run at once: the cores, or fewer where memory is short."""
    return max(1, min(cores(), int(_memory_gib() // GIB_PER_JOB)))


def torch_version() -> str:
    """Version of this environment's torch with its build, as in ``2.13.0+cpu``."""
    code = "import torch; print(torch.__version__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()[-1]


def kept_wheels(stack: str) -> Path:
    """Folder of the stack's wheels that were built against this torch and whose operators load."""
    # As in mmptq.fileio, which is not there yet.
    cache = Path(os.environ.get("MMPTQ_CACHE", "~/.cache/mmptq")).expanduser()
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return cache / "wheels" / f"{stack}-torch-{torch_version()}-{tag}"


def fetch(pip: Pip, requirement: str, folder: Path, *flags: str) -> Path | None:
    """Fetch a wheel or the sources, whichever pip finds. Returns the file, ``None`` on failure."""
    if not pip.run("download", *flags, "-d", folder, requirement):
        return None
    return next(path for path in folder.iterdir() if path.is_file())


def build_wheel(pip: Pip, archive: Path, folder: Path) -> Path | None:
    """Build a wheel of mmcv with its operators.

    Args:
        pip: Builds it.
        archive: The published sources.
        folder: Where to unpack them and put the wheel.

    Returns:
        The wheel, ``None`` on failure.
    """
    for join_sources in (True, False):
        tree = _unpack(archive, folder / f"joined-{join_sources}")
        raise_standard(tree / "setup.py", least_standard())
        units = join(tree, UNITS_PER_JOB * compile_jobs()) if join_sources else 0
        if pip.run("wheel", "-w", folder, tree, units=units):
            return next(folder.glob("*.whl"))
        if not units or not _COMPILE_ERROR.search(pip.log.read_text(encoding="utf-8")):
            break
        pip.display.line("mmcv's sources do not compile when joined: compiling them one by one")
    return None


def least_standard() -> int:
    """C++ that this environment's torch asks for at least, as in 17; 0 where it does not say."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    header = Path(spec.origin).parent / "include/ATen/ATen.h"
    found = _LEAST_STANDARD.search(header.read_text(encoding="utf-8")) if header.exists() else None
    return int(found[1]) if found else 0


def raise_standard(setup: Path, least: int) -> None:
    """Let mmcv compile as this C++ at least: its setup.py knows no torch that asks for more."""
    text = setup.read_text(encoding="utf-8")
    raised = _STANDARD.sub(lambda found: f"-std=c++{max(int(found[1]), least)}", text)
    setup.write_text(raised, encoding="utf-8")


def _unpack(archive: Path, folder: Path) -> Path:
    shutil.unpack_archive(archive, folder)
    (tree,) = folder.iterdir()
    return tree


def keep_wheel(wheel: Path, folder: Path, display: Display) -> None:
    """Keep a wheel for later environments; a full disk costs only that."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy2(wheel, folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        display.line(f"the wheel could not be kept for later environments: {error}")


def _memory_gib() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return float("inf")


def _lines_of(process: "subprocess.Popen[str]") -> Iterator[str]:
    """The process's lines as they come, and an empty string about once a second in between."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            line = ""
        if line is None:
            return
        yield line
