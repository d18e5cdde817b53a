"""Install mmcv with its compiled operators, and show how far the compiler is.

mmcv publishes sources only, and pip's usual way of building them (in isolation, where torch cannot
be seen) yields an mmcv without operators, or none at all. This script builds it against the torch
of the running Python, in a few joined units, checks that the operators load, and keeps the wheel
for the next environment with the same torch, in the folder MMPTQ_CACHE or ~/.cache/mmptq.

    python tools/install_mmcv.py [--stack upstream|onedl] [--force]
"""

import argparse
import importlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mmcv_build_log import BUILD_TOOLS, Display, first_errors, hint_for
from mmcv_state import STACKS, find_obstacle, fits, importable, operators_state, version_of
from mmcv_wheels import Pip, build_wheel, fetch, keep_wheel, kept_wheels


def install_build_tools(display: Display) -> bool:
    """Install what mmcv's setup.py needs where it is missing. Returns whether all is there."""
    modules = ("pkg_resources", "wheel", "ninja", "psutil", "packaging")
    if all(importable(module) for module in modules):
        return True
    display.line(f"installing the build's tools: {' '.join(BUILD_TOOLS)}")
    run = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *BUILD_TOOLS], check=False
    )
    importlib.invalidate_caches()
    return run.returncode == 0


def install(stack: str, force: bool, log: Path, display: Display) -> int:
    """Install the stack's mmcv: a wheel that fits if there is one, else one built here.

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
    if not force and fits(requirement) and operators_state() == "ok":
        display.line(f"mmcv {version_of(distribution)}: its operators load, nothing to do")
        return 0
    pip, keep = Pip(log, display), kept_wheels(stack)
    if force:
        shutil.rmtree(keep, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="mmcv-") as folder:
        kept = sorted(keep.glob("*.whl"))[-1:]
        if kept and _takes(pip, kept[0]):
            return _report(distribution, display)
        display.line(f"fetching {requirement}")
        found = fetch(pip, requirement, Path(folder, "found"))
        if found and found.suffix == ".whl":
            if not force and _takes(pip, found):
                return _report(distribution, display)
            found = fetch(pip, requirement, Path(folder, "sources"), "--no-binary", distribution)
        wheel = build_wheel(pip, found, Path(folder)) if found else None
        if wheel is None or not _install_wheel(pip, wheel):
            return _explain_failure(log, display)
        state = operators_state()
        if state not in ("ok", "cpu-only"):
            display.line(f"mmcv was built, but its operators do not load ({state}); log: {log}")
            return 1
        keep_wheel(wheel, keep, display)
    return _report(distribution, display)


def _takes(pip: Pip, wheel: Path) -> bool:
    """Install a wheel that was not built just now. Returns whether its operators load."""
    pip.display.line(f"installing {wheel.name}")
    state = operators_state() if _install_wheel(pip, wheel) else "pip refuses it"
    if state == "ok" or (state == "cpu-only" and shutil.which("nvcc") is None):
        return True
    pip.display.line(f"this wheel does not fit here ({state}): building it")
    return False


def _install_wheel(pip: Pip, wheel: Path) -> bool:
    return pip.run("install", "--force-reinstall", wheel)


def _report(distribution: str, display: Display) -> int:
    gpu_unused = ", for the CPU alone although torch sees a GPU"
    note = gpu_unused if operators_state() == "cpu-only" else ""
    display.line(f"mmcv {version_of(distribution)}: its operators load{note}")
    return 0


def _explain_failure(log: Path, display: Display) -> int:
    text = log.read_text(encoding="utf-8")
    parts = {"The first errors": first_errors(text), "The log's end": text.splitlines()[-15:]}
    display.line("mmcv could not be installed.")
    for title, lines in parts.items():
        if lines:
            display.line(f"{title}:")
        for line in lines:
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
