"""Install mmcv with its compiled operators, and show how far the compiler is.

mmcv publishes sources only, and pip's usual way of building them (in isolation, where torch cannot
be seen) yields an mmcv without operators, or none at all. This script builds it against the torch
of the running Python, in a few joined units, checks that the operators load, and keeps the wheel
for the next environment with the same torch, in the folder MMPTQ_CACHE or ~/.cache/mmptq.

    python tools/install_mmcv.py [--stack upstream|onedl] [--force]
"""

import argparse
import importlib.metadata
import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mmcv_build_log import BUILD_TOOLS, Display, hint_for
from mmcv_wheels import Pip, build_wheel, fetch, keep_wheel, kept_wheels

# Distribution and requirement of each stack's mmcv; both import as `mmcv`.
STACKS = {
    "upstream": ("mmcv", "mmcv==2.1.0"),
    "onedl": ("onedl-mmcv", "onedl-mmcv>=2.3,<2.4"),
}

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
    if not force and _fits(requirement) and operators_state() == "ok":
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
