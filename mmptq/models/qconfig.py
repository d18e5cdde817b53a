"""The ``qconfig``: what is quantized, and to how many bits.

.. code-block:: python

    qconfig = dict(
        scope='full',                      # preset, see mmptq/models/scopes.py
        weight=dict(num_bits=4),           # defaults of every layer in the scope
        act=dict(num_bits=4, per_channel='depthwise'),   # or 'none': one range a tensor everywhere
        overrides=[                        # first match wins; before the preset's own
            dict(pattern='backbone.layer1.*', weight=dict(num_bits=8)),
            dict(pattern='bbox_head.retina_cls', weight=None, act=None),   # stays float
            dict(pattern=['*.reg_branches.*', '*.fc_reg'], act=dict(num_bits=8)),   # either fits
        ],
        target='openvino')                 # runtime that is to execute it: mmptq/targets
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmptq.errors import ConfigError
from mmptq.models.kinds import check_kind
from mmptq.models.scopes import scope_preset
from mmptq.models.specs import ACT_DEFAULT, WEIGHT_DEFAULT, Override, TensorSpec, check_bool
from mmptq.targets import Target, parse_target

_KEYS = ("scope", "weight", "act", "overrides", "per_call", "fold_bn", "target")


@dataclass(frozen=True)
class QConfig:
    """The parsed ``qconfig``.

    Args:
        scope: Name of the preset.
        weight: Default of the weights, ``None`` for float.
        act: Default of the activations, ``None`` for float.
        overrides: In order; the first match wins.
        per_call: Whether a layer that runs several times per image reads through a quantizer of its
            own in every call.
        fold_bn: Whether batch norms are folded into the convolution before them.
        weight_base: What an override's ``weight`` changes where the default is float.
        act_base: The same for ``act``.
        target: The runtime whose rules hold for every layer.
    """

    scope: str
    weight: TensorSpec | None
    act: TensorSpec | None
    overrides: tuple[Override, ...]
    per_call: bool = True
    fold_bn: bool = True
    weight_base: TensorSpec = WEIGHT_DEFAULT
    act_base: TensorSpec = ACT_DEFAULT
    target: Target | None = None

    @classmethod
    def parse(cls, cfg: Mapping[str, Any]) -> "QConfig":
        """Read and check a ``qconfig`` dict.

        Raises:
            ConfigError: Naming the key, the value and what would be right.
        """
        if not isinstance(cfg, Mapping):
            raise ConfigError(f"qconfig = {cfg!r}: must be a dict")
        for name in cfg:
            if name not in _KEYS:
                close = difflib.get_close_matches(name, _KEYS, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_KEYS)}"
                raise ConfigError(f"qconfig.{name}: unknown key; {hint}")
        scope = cfg.get("scope", "full")
        preset = scope_preset(scope)
        weight_base = WEIGHT_DEFAULT.merged(preset.weight, "scope.weight")
        act_base = ACT_DEFAULT.merged(preset.act, "scope.act")
        weight = _default_spec(weight_base, cfg, "weight")
        act = _default_spec(act_base, cfg, "act")
        target = parse_target(cfg.get("target"))
        if target is not None:
            weight, act = _allowed(weight, act, target)
        own = cfg.get("overrides") or []
        if not isinstance(own, list | tuple):
            raise ConfigError(f"qconfig.overrides = {own!r}: must be a list of dicts")
        overrides = [Override.parse(o, f"qconfig.overrides[{i}]") for i, o in enumerate(own)]
        check_kind(weight, "weight", "qconfig.weight", target)
        check_kind(act, "act", "qconfig.act", target)
        for override in overrides:
            _check_override(override, weight or weight_base, act or act_base, target)
        return cls(
            scope,
            weight,
            act,
            (*overrides, *preset.overrides(weight, act)),
            check_bool(cfg.get("per_call", True), "qconfig.per_call"),
            check_bool(cfg.get("fold_bn", True), "qconfig.fold_bn"),
            weight_base,
            act_base,
            target,
        )

    def resolve(
        self, name: str, roles: Iterable[str]
    ) -> tuple[TensorSpec | None, TensorSpec | None]:
        """Specs of the weight and of the input of layer ``name``; ``None`` means float."""
        roles = tuple(roles)
        weight, act = self.weight, self.act
        for override in self.overrides:
            if override.matches(name, roles):
                weight = override.apply("weight", self.weight, self.weight_base)
                act = override.apply("act", self.act, self.act_base)
                break
        return (weight, act) if self.target is None else _allowed(weight, act, self.target)

    def resolve_output(self, layer: str, name: str, act: TensorSpec) -> TensorSpec | None:
        """Spec of what reads the output of ``layer``; ``None`` means float.

        Args:
            layer: Name of the layer.
            name: Of what reads its output. An override changes it whose pattern matches this name,
                but not the layer's own.
            act: Spec of the layer's input.
        """
        assert self.target is not None
        spec: TensorSpec | None = replace(act, num_bits=self.target.output_bits)
        for override in self.overrides:
            if override.matches(name, ()) and not override.matches(layer, ()):
                spec = override.apply("act", spec, act)
                break
        return _allowed(None, spec, self.target)[1]

    def decides(self, name: str, roles: Iterable[str]) -> frozenset[str]:
        """What an override says of layer ``name``: ``'weight'``, ``'act'``, both, or neither."""
        found = next((o for o in self.overrides if o.matches(name, roles)), None)
        return frozenset(found.changes) if found is not None else frozenset()

    def check_patterns(self, names: Iterable[str]) -> None:
        """Make sure that every pattern, or one of a list of them, picks a layer.

        Raises:
            ConfigError: It matches nothing (the names nearest to it are listed).
        """
        names = list(names)
        for override in self.overrides:
            patterns = override.patterns
            if patterns is not None and not any(override.matches(name, ()) for name in names):
                near = difflib.get_close_matches(patterns[0], names, n=3, cutoff=0.3) or names[:3]
                shown = patterns[0] if len(patterns) == 1 else list(patterns)
                raise ConfigError(
                    f"{override.key}.pattern = {shown!r} matches no quantizable layer; "
                    f"nearest: {', '.join(near)}"
                )


def _default_spec(base: TensorSpec, cfg: Mapping[str, Any], which: str) -> TensorSpec | None:
    if which in cfg and cfg[which] is None:
        return None
    given = cfg.get(which, {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"qconfig.{which} = {given!r}: must be a dict, or None for float")
    return base.merged(given, f"qconfig.{which}")


def _check_override(
    override: Override, weight: TensorSpec, act: TensorSpec, target: Target | None
) -> None:
    """Fail on a malformed change now, whether or not it will match a layer."""
    for which, spec in (("weight", weight), ("act", act)):
        changes = override.changes.get(which)
        if changes is not None and not isinstance(changes, Mapping):
            raise ConfigError(f"{override.key}.{which} = {changes!r}: must be a dict, or None")
        check_kind(override.apply(which, spec, spec), which, f"{override.key}.{which}", target)


def _allowed(
    weight: TensorSpec | None, act: TensorSpec | None, target: Target
) -> tuple[TensorSpec | None, TensorSpec | None]:
    """The specs as the target can execute them."""
    if weight is not None and weight.num_bits > target.weight_bits:
        weight = replace(weight, num_bits=float(target.weight_bits))
    if weight is not None and not target.weight_zero_points:
        weight = replace(weight, symmetric=True)
    if act is not None and not target.zero_points:
        act = replace(act, symmetric=True)
    if act is not None and not target.unsigned and act.type == "UniformQuantizer":
        act = replace(act, type="SignedQuantizer")
    return weight, act
