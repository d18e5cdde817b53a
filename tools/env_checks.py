"""What works of an environment: every package is used once, in a process of its own."""

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from env_fixes import PACKAGES, distributions, fix_for
from env_probes import PROBES, Probe
from mmcv_build_log import cores
from mmcv_state import version_of

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 300.0  # seconds; a cold disk and a busy machine can take a minute to import torch


@dataclass(frozen=True)
class Check:
    """What a probe found.

    Args:
        name: The row's title.
        status: ``ok``, ``warning`` (works, but read it), ``missing``, ``fault`` (installed, but
            does not work), ``blocked`` (cannot work before another is mended) or ``absent``
            (optional and not installed).
        detail: Version and the like, or what is wrong.
        fix: Command that mends it, or what to do; empty where there is nothing to mend.
        required: Whether mmptq works without it.
    """

    name: str
    status: str
    detail: str
    fix: str = ""
    required: bool = True


def find_stack() -> str:
    """``upstream``, ``onedl``, ``mixed`` (parts of both: they overwrite each other) or ``none``."""
    found = [stack for stack in PACKAGES if any(version_of(name) for name in distributions(stack))]
    if len(found) > 1:
        return "mixed"
    return found[0] if found else "none"


def check_python(stack: str) -> Check:
    """The running Python against what mmptq and the stack's mmcv need."""
    version = sys.version.split()[0]
    detail = f"{version} ({python_command()})"
    if sys.version_info >= (3, 13) and stack != "onedl":
        fix = "use Python 3.10 to 3.12, or the fork: make install STACK=onedl"
        return Check("python", "warning", f"{detail}: mmcv 2.1.0 does not build here", fix)
    return Check("python", "ok", detail)


def check_stack(stack: str) -> Check:
    """Which distributions supply mmengine, mmcv and mmdet."""
    names = [name for known in PACKAGES for name in distributions(known)]
    versions = [f"{name} {version_of(name)}" for name in names if version_of(name)]
    if stack == "none":
        return Check("stack", "missing", "no mmengine, mmcv, mmdet; neither upstream's nor onedl's")
    if stack == "mixed":
        fix = f"{python_command()} -m pip uninstall -y {' '.join(names)}  # then make install"
        return Check("stack", "fault", f"upstream and fork mixed: {', '.join(versions)}", fix)
    return Check("stack", "ok", f"{stack}: {', '.join(versions)}")


def run_probe(probe: Probe, stack: str) -> Check:
    """Run one probe in a process of its own and judge what it printed."""
    code = "import sys; sys.path[:] = [p for p in sys.path if p]\n" + probe.code
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return Check(probe.name, "fault", f"no answer in {TIMEOUT:.0f} s", "", probe.required)
    lines = run.stdout.strip().splitlines()
    fix = fix_for(probe, stack, python_command())
    if run.returncode == 0:
        detail = lines[-1] if lines else ""
        text, warned, warning = detail.partition("WARNING: ")
        if warned:
            return Check(probe.name, "warning", text + warning, fix(detail), probe.required)
        return Check(probe.name, "ok", detail, "", probe.required)
    errors = run.stderr.strip().splitlines()
    error = errors[-1] if errors else f"the process ended with {run.returncode}"
    if error.startswith("ModuleNotFoundError") and f"'{probe.module}'" in error:
        if not probe.required:
            return Check(probe.name, "absent", f"not installed: {probe.purpose}", fix(error), False)
        return Check(probe.name, "missing", error.partition(": ")[2], fix(error))
    return Check(probe.name, "fault", error, fix(error), probe.required)


def python_command() -> str:
    """The running Python as one types it in the repository's root, where the fixes are run."""
    path = Path(sys.executable)
    return shlex.quote(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path))


def settle_blocked(checks: list[Check], probes: tuple[Probe, ...] = PROBES) -> list[Check]:
    """Turn the faults that may only follow from another one into ``blocked``, without a fix."""
    needs = {probe.name: probe.needs for probe in probes}
    broken = {check.name for check in checks if check.status in ("missing", "fault")}
    settled = []
    for check in checks:
        causes = [name for name in needs.get(check.name, ()) if name in broken]
        if check.status == "fault" and causes:
            detail = f"needs {', '.join(causes)}"
            check = Check(check.name, "blocked", detail, required=check.required)
        settled.append(check)
    return settled


def run_checks() -> tuple[str, list[Check]]:
    """The stack's name and all findings."""
    stack = find_stack()
    probes = [p for p in PROBES if p.stack in ("", "upstream" if stack == "none" else stack)]
    with ThreadPoolExecutor(max_workers=min(4, cores() + 1)) as pool:
        found = list(pool.map(lambda probe: run_probe(probe, stack), probes))
    return stack, settle_blocked([check_python(stack), check_stack(stack), *found])


def healthy(checks: list[Check]) -> bool:
    """Whether nothing that is required is broken."""
    return not any(c.required and c.status in ("missing", "fault", "blocked") for c in checks)
