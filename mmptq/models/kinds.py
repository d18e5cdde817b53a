"""Which registered quantizers may stand where."""

from typing import Any

from mmptq.errors import ConfigError
from mmptq.models.specs import TensorSpec
from mmptq.quantizers import LevelQuantizer
from mmptq.registry import QUANTIZERS
from mmptq.targets import Target


def has_own_levels(spec: TensorSpec) -> bool:
    """Whether the quantizer's levels are not evenly spaced."""
    kind: Any = QUANTIZERS.get(spec.type)
    return isinstance(kind, type) and issubclass(kind, LevelQuantizer)


def check_kind(spec: TensorSpec | None, which: str, key: str, target: Target | None) -> None:
    """Make sure that a spec's quantizer can quantize a weight or an activation (``which``).

    Raises:
        ConfigError: Its levels are not evenly spaced, and it is a weight's, or a runtime is to
            compute with its codes.
    """
    if spec is None or not has_own_levels(spec):
        return
    if which == "weight":
        raise ConfigError(
            f"{key}.type = {spec.type!r}: quantizes activations only; for weights leave it out "
            "(UniformQuantizer)"
        )
    if target is not None:
        raise ConfigError(
            f"{key}.type = {spec.type!r}: has levels that are not evenly spaced, with which "
            f"qconfig.target = {target.name!r} cannot compute; leave out one of the two"
        )
