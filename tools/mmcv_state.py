"""What this environment holds of mmcv, and what stands in the way of building it."""

import importlib.metadata
import importlib.util
import shlex
import subprocess
import sys

# Distribution and requirement of each stack's mmcv; both import as `mmcv`.
STACKS = {
    "upstream": ("mmcv", "mmcv==2.1.0"),
    "onedl": ("onedl-mmcv", "onedl-mmcv>=2.3,<2.4"),
}

# As in pyproject.toml: pip would replace an older torch once mmcv is built against it.
LEAST_TORCH = (2, 6)
TORCH = "torch>={}.{}".format(*LEAST_TORCH)

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
    if not importable("torch"):
        return f"torch is missing; first: {pip} install torch"
    torch = version_of("torch") or ""
    # Not by `fits`: packaging is one of the build's tools, and not there yet.
    if tuple(map(int, torch.split(".")[:2])) < LEAST_TORCH:
        return f"torch {torch} is too old; first: {pip} install '{TORCH}'"
    return None


def importable(module: str) -> bool:
    """Whether a module of this environment would be found."""
    return importlib.util.find_spec(module) is not None


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution, ``None`` where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def fits(requirement: str) -> bool:
    """Whether what is installed satisfies a requirement."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    version = version_of(wanted.name)
    return version is not None and wanted.specifier.contains(version, prereleases=True)
