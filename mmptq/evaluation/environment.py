"""What a result was computed with."""

import importlib
import json
import platform
from pathlib import Path
from typing import Any

import torch

import mmptq

_PACKAGES = ("torch", "numpy", "mmengine", "mmcv", "mmdet")


def environment() -> dict[str, str | int | None]:
    """Versions, device and threads, as plain values; ``None`` for a package that is missing."""
    found: dict[str, str | int | None] = {
        "mmptq": mmptq.__version__,
        "python": platform.python_version(),
    }
    found.update({name: _version(name) for name in _PACKAGES})
    found.update(
        platform=platform.platform(), device=device_name(), threads=torch.get_num_threads()
    )
    return found


def device_name() -> str:
    """Name of the GPU that torch would use, or of the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu ({_processor()})"


def environment_text(environment: dict[str, Any]) -> str:
    """``mmptq 0.1.0, torch 2.4, ...``."""
    return ", ".join(
        f"{key} {value if isinstance(value, str | int | float) else json.dumps(value)}"
        for key, value in environment.items()
        if value is not None
    )


def _version(package: str) -> str | None:
    try:
        return str(getattr(importlib.import_module(package), "__version__", "unknown"))
    except ImportError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
