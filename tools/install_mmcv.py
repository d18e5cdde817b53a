"""Install mmcv with its compiled operators, and show how far the compiler is.

mmcv publishes sources only, and pip's usual way of building them (in isolation, where torch cannot
be seen) yields an mmcv without operators, or none at all. This script builds it against the torch
of the running Python, lets pip keep the wheel, and checks that the operators load. A kept wheel
that was built without operators, or against another torch, is dropped and built again.

    python tools/install_mmcv.py [--stack upstream|onedl] [--force]
"""

import argparse
import importlib.metadata
import importlib.util
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mmcv_build_log import BUILD_TOOLS, BuildProgress, Display, cores, hint_for

# Distribution and requirement of each stack's mmcv; both import as `mmcv`.
STACKS = {
    "upstream": ("mmcv", "mmcv==2.1.0"),
    "onedl": ("onedl-mmcv", "onedl-mmcv>=2.3,<2.4"),
}
# A file that includes torch's headers takes the compiler up to this much memory.
GIB_PER_JOB = 2

# Loads the extension alone: a fault elsewhere (in OpenCV, say) must not be taken for its own.
_STATE_CODE = """
import importlib.machinery, importlib.util, os, sys
sys.path[:] = [p for p in sys.path if p]
spec = importlib.util.find_spec("mmcv")
folders = list(spec.submodule_search_locations) if spec else []
names = ["_ext" + suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES]
files = [os.path.join(d, n) for d in folders for n in names]
files = [f for f in files if os.path.exists(f)]
if not folders:
    print("absent")
elif not files:
    print("no-operators")
else:
    import torch
    loader = importlib.machinery.ExtensionFileLoader("mmcv._ext", files[0])
    spec = importlib.util.spec_from_file_location("mmcv._ext", files[0], loader=loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    no_gpu = module.get_compiling_cuda_version() == "not available"
    print("cpu-only" if no_gpu and torch.cuda.is_available() else "ok")
"""


def operators_state(python: str = sys.executable) -> str:
    """State of mmcv's operators in the environment of ``python``.

    Returns:
        ``ok``, ``absent`` (no mmcv), ``no-operators``, ``cpu-only`` (there is a GPU, and the
        operators were built without it) or ``broken: <the loader's words>``.
    """
    run = subprocess.run([python, "-c", _STATE_CODE], capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return run.stdout.split()[-1]
    words = run.stderr.strip().splitlines()
    return f"broken: {words[-1] if words else f'the process ended with {run.returncode}'}"


def find_obstacle(stack: str) -> str | None:
    """What would make the build fail or mislead, found before any time is spent."""
    if stack == "upstream" and sys.version_info >= (3, 13):
        return (
            "mmcv 2.1.0's setup.py does not run on Python 3.13 and newer (this is "
            f"{sys.version.split()[0]}): use Python 3.10 to 3.12, or the fork (--stack onedl)"
        )
    pip = f"{shlex.quote(sys.executable)} -m pip"
    other = STACKS["onedl" if stack == "upstream" else "upstream"][0]
    if version_of(other):
        return (
            f"{other} is installed here and has the same import name as {STACKS[stack][0]}: use an "
            f"environment of its own, or first: {pip} uninstall -y {other}"
        )
    if not _importable("torch"):
        return f"torch is missing; first: {pip} install torch"
    return None


def install_build_tools(display: Display) -> bool:
    """Install what mmcv's setup.py needs where it is missing. Returns whether all is there."""
    modules = ("pkg_resources", "wheel", "ninja", "psutil", "packaging")
    if all(_importable(module) for module in modules):
        return True
    display.line(f"installing the build's tools: {' '.join(BUILD_TOOLS)}")
    run = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *BUILD_TOOLS], check=False
    )
    importlib.invalidate_caches()
    return run.returncode == 0


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution, ``None`` where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    version = version_of(wanted.name)
    return version is not None and wanted.specifier.contains(version, prereleases=True)


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


def pip_install(requirement: str, log: Path, display: Display) -> BuildProgress | None:
    """Run pip and show its progress.

    Args:
        requirement: What to install.
        log: File that gets pip's whole output.
        display: Where the progress goes.

    Returns:
        What was done, ``None`` where pip failed.
    """
    command = [sys.executable, "-m", "pip", "install", "-v", "--no-input", "--progress-bar", "off"]
    command += ["--no-build-isolation", "--no-deps", "--force-reinstall", requirement]
    env = dict(os.environ, MMCV_WITH_OPS="1", PYTHONUNBUFFERED="1")
    env.setdefault("MAX_JOBS", str(max(1, min(cores(), int(_memory_gib() // GIB_PER_JOB)))))
    progress = BuildProgress()
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            start_new_session=True,
        ) as process,
    ):
        try:
            for line in _lines_of(process):
                file.write(line)
                progress.feed(line, time.monotonic())
                display.show(progress, time.monotonic())
        except KeyboardInterrupt:
            # pip's children, the compilers, would go on without it.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    return progress if process.returncode == 0 else None


def drop_cached_wheel(requirement: str) -> None:
    """Take the wheel out of pip's cache, so that the next installation compiles.

    Only the version that the requirement pins, or all of the distribution where it pins none.
    """
    name, _, version = requirement.partition("==")
    name = re.split(r"[<>=!~]", name)[0].replace("-", "_")
    # Fails where nothing is cached or the cache is off; both are fine.
    subprocess.run(
        [sys.executable, "-m", "pip", "cache", "remove", f"{name}-{version or '*'}"],
        capture_output=True,
        check=False,
    )


def install(stack: str, force: bool, log: Path, display: Display) -> int:
    """Install the stack's mmcv, and build it anew if its operators do not load.

    Returns:
        The exit status: 0 when the operators load.
    """
    distribution, requirement = STACKS[stack]
    obstacle = find_obstacle(stack)
    if obstacle:
        display.line(f"mmcv cannot be built: {obstacle}")
        return 1
    if not install_build_tools(display):
        return 1
    if force:
        drop_cached_wheel(requirement)
    elif _fits(requirement) and operators_state() == "ok":
        display.line(f"mmcv {version_of(distribution)}: its operators load, nothing to do")
        return 0
    display.line(f"installing {requirement} with its operators (tries pip's wheel cache first)")
    done = pip_install(requirement, log, display)
    state = operators_state() if done else ""
    if done and done.compiling_since is None and _worth_rebuilding(state):
        display.line(f"the wheel that pip had kept does not fit here ({state}): building it anew")
        drop_cached_wheel(requirement)
        done = pip_install(requirement, log, display)
        state = operators_state() if done else ""
    if not done:
        return _explain_failure(log, display)
    if state not in ("ok", "cpu-only"):
        display.line(f"mmcv was built, but its operators do not load ({state}); log: {log}")
        return 1
    note = "" if state == "ok" else ", for the CPU alone although torch sees a GPU"
    display.line(f"mmcv {version_of(distribution)}: its operators load{note}")
    return 0


def _worth_rebuilding(state: str) -> bool:
    return shutil.which("nvcc") is not None if state == "cpu-only" else state != "ok"


def _explain_failure(log: Path, display: Display) -> int:
    text = log.read_text(encoding="utf-8")
    display.line("mmcv could not be installed. The log's end:")
    for line in text.splitlines()[-25:]:
        display.line(f"    {line[:200]}")
    command = shlex.join([sys.executable, *sys.argv])
    display.line(f"whole log:  {log}")
    display.line(f"likely fix: {hint_for(text, command)}")
    return 1


def main() -> int:
    """Parse the arguments, install, and return the exit status."""
    parser = argparse.ArgumentParser(description="Install mmcv with its compiled operators.")
    parser.add_argument("--stack", choices=sorted(STACKS), default="upstream")
    parser.add_argument("--force", action="store_true", help="compile anew whatever is there")
    parser.add_argument("--log", type=Path, default=Path(sys.prefix, "mmcv_build.log"))
    args = parser.parse_args()
    display = Display(sys.stdout)
    try:
        return install(args.stack, args.force, args.log, display)
    except KeyboardInterrupt:
        display.line("stopped; a compilation starts over the next time")
        return 130


if __name__ == "__main__":
    sys.exit(main())
