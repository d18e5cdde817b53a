"""Scope presets: which layers a published protocol quantizes.

Results of different scopes must not be mixed, so every result names its scope.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmptq.errors import ConfigError
from mmptq.models.specs import Override, TensorSpec

EDGE_BITS = 8  # first and last layers in most published protocols


@dataclass(frozen=True)
class ScopePreset:
    """Defaults and overrides of a scope.

    Args:
        summary: One line for ``--help`` and the plan.
        rules: From the default specs to the entries of ``overrides``, as in the config.
        weight: Changes of the weight default.
        act: Changes of the activation default.
    """

    summary: str
    rules: Callable[[TensorSpec | None, TensorSpec | None], list[dict[str, Any]]]
    weight: Mapping[str, Any] = field(default_factory=dict)
    act: Mapping[str, Any] = field(default_factory=dict)

    def overrides(self, weight: TensorSpec | None, act: TensorSpec | None) -> list[Override]:
        """The preset's overrides, parsed."""
        rules = self.rules(weight, act)
        return [Override.parse(r, f"scope.overrides[{i}]") for i, r in enumerate(rules)]


def _at_least(bits: int, spec: TensorSpec | None) -> dict[str, Any] | None:
    return None if spec is None else {"num_bits": max(bits, spec.num_bits)}


def _full(weight: TensorSpec | None, act: TensorSpec | None) -> list[dict[str, Any]]:
    edge = {"weight": _at_least(EDGE_BITS, weight), "act": _at_least(EDGE_BITS, act)}
    return [{"role": "first", **edge}, {"role": "last", **edge}]


def _backbone_neck(weight: TensorSpec | None, act: TensorSpec | None) -> list[dict[str, Any]]:
    return [
        {"role": "head", "weight": None, "act": None},
        {"role": "first", "weight": _at_least(EDGE_BITS, weight), "act": None},
    ]


def _lapq_paper(weight: TensorSpec | None, act: TensorSpec | None) -> list[dict[str, Any]]:
    edge = {"weight": None, "act": None}
    return [{"role": "first", **edge}, {"role": "last", **edge}]


SCOPES = {
    "full": ScopePreset(
        "backbone, neck and heads; first layer (with the image) and final predictors in 8 bit",
        _full,
    ),
    "backbone_neck": ScopePreset(
        "QDrop's protocol: backbone and neck; heads, FPN outputs and the image in float, "
        "the first layer's weight in 8 bit",
        _backbone_neck,
    ),
    "lapq_paper": ScopePreset(
        "LAPQ's protocol: symmetric, one step per tensor; first and last layers in float",
        _lapq_paper,
        weight={"per_channel": False},
        act={"symmetric": True, "per_channel": "none"},
    ),
}


def scope_preset(name: str) -> ScopePreset:
    """The preset called ``name``.

    Raises:
        ConfigError: There is none.
    """
    if not isinstance(name, str) or name not in SCOPES:
        raise ConfigError(f"qconfig.scope = {name!r}: must be one of {', '.join(SCOPES)}")
    return SCOPES[name]
