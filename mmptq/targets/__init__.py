"""What each runtime demands of a quantized model."""

from collections.abc import Mapping
from typing import Any

from mmptq.errors import ConfigError
from mmptq.targets.base import Target
from mmptq.targets.generic import GENERIC
from mmptq.targets.onnxruntime import ONNXRUNTIME
from mmptq.targets.openvino import OPENVINO
from mmptq.targets.tensorrt import TENSORRT

TARGETS = {target.name: target for target in (ONNXRUNTIME, OPENVINO, TENSORRT, GENERIC)}


def parse_target(value: Any) -> Target | None:
    """The target that ``qconfig.target`` names: a name, or a dict with ``type`` and options.

    Raises:
        ConfigError: It is unknown; tells the names.
    """
    if value is None:
        return None
    cfg = {"type": value} if isinstance(value, str) else value
    names = ", ".join(TARGETS)
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ConfigError(f"qconfig.target = {value!r}: must be a name ({names}), or a dict of one")
    if cfg["type"] not in TARGETS:
        raise ConfigError(f"qconfig.target = {cfg['type']!r}: must be one of {names}")
    return TARGETS[cfg["type"]].configured(cfg)


__all__ = ["TARGETS", "Target", "parse_target"]
