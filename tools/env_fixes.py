"""The command that mends what tools/check_env.py found broken."""

import re
from collections.abc import Callable

from env_probes import Probe

# The requirements of pyproject.toml's extras (a test keeps them equal), by import name.
PACKAGES = {
    "upstream": {"mmengine": "mmengine>=0.10.4,<0.11", "mmdet": "mmdet>=3.3,<3.4"},
    "onedl": {
        "mmengine": "onedl-mmengine>=0.10.12,<0.11",
        "mmdet": "onedl-mmdetection>=3.5,<3.6",
    },
}


def distributions(stack: str) -> tuple[str, str, str]:
    """Distribution names of a stack's mmengine, mmcv and mmdet."""
    if stack == "onedl":
        return "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection"
    return "mmengine", "mmcv", "mmdet"


def fix_for(probe: Probe, stack: str, python: str) -> Callable[[str], str]:
    """The function that turns what a probe said into the command that mends it.

    Args:
        probe: The probe that found a fault.
        stack: ``upstream``, ``onedl``, ``mixed`` or ``none``.
        python: The environment's Python, as typed.
    """
    stack = stack if stack in PACKAGES else "upstream"
    package = probe.package or PACKAGES[stack].get(probe.module, "")
    pip = f"{python} -m pip"

    def fix(said: str) -> str:
        if "libGL" in said or "libgthread" in said:
            return "apt-get install -y libgl1 libglib2.0-0"
        if "MMCV==" in said or probe.module == "mmcv":
            force = " --force" if "WARNING" in said else ""
            return f"{python} tools/install_mmcv.py --stack {stack}{force}"
        if probe.module == "mmptq":
            return f"{pip} install --no-build-isolation -e '.[{stack}]'"
        if probe.module == "torchvision" and "No module named" not in said:
            return f"{pip} uninstall -y torchvision  # it does not fit torch, and breaks mmdet"
        if not package:
            return ""
        names = " ".join(f"'{p}'" if re.search(r"[<>]", p) else p for p in package.split())
        again = "" if said.startswith("ModuleNotFoundError") else "--force-reinstall --no-deps "
        return f"{pip} install {again}{names}"

    return fix
