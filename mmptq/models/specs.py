"""How one tensor is quantized, and rules that change it for some layers."""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mmptq.errors import ConfigError
from mmptq.ops import MAX_BITS, MIN_BITS

# Where activations have a range a channel: at the inputs of layers whose outputs read one channel
# each, or nowhere.
ACT_GRANULARITIES = ("depthwise", "none")

ROLES = (
    "backbone", "neck", "head", "first", "last", "depthwise", "embedding", "softmax", "gelu",
)  # fmt: skip


def check_num_bits(value: Any, key: str) -> float:
    """``value`` as a bit-width.

    Raises:
        ConfigError: Not a number in [1, 16].
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(
            f"{key} = {value!r}: a bit-width is a number in [{MIN_BITS:g}, {MAX_BITS:g}]"
            " (for float use None in place of the whole entry)"
        )
    if not MIN_BITS <= value <= MAX_BITS:
        raise ConfigError(
            f"{key} = {value!r}: a bit-width lies in [{MIN_BITS:g}, {MAX_BITS:g}];"
            " to leave a tensor in float, set the whole entry to None"
        )
    return float(value)


def check_bool(value: Any, key: str) -> bool:
    """``value`` as a switch.

    Raises:
        ConfigError: Not True or False (a string such as 'no' would count as true).
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{key} = {value!r}: must be True or False")
    return value


@dataclass(frozen=True)
class TensorSpec:
    """How one tensor is quantized.

    Args:
        num_bits: Whole or real bit-width.
        symmetric: Zero point 0, or affine.
        per_channel: Of weights: one step per output channel. Of activations: one of
            :data:`ACT_GRANULARITIES`.
        type: Registered quantizer class.
    """

    num_bits: float
    symmetric: bool
    per_channel: bool | str = False
    type: str = "UniformQuantizer"

    def merged(self, changes: Mapping[str, Any], key: str) -> "TensorSpec":
        """This spec with ``changes``, checked.

        Raises:
            ConfigError: An unknown key or a value of the wrong kind.
        """
        known = [f.name for f in fields(self)]
        for name, value in changes.items():
            if name not in known:
                raise ConfigError(f"{key}.{name}: unknown key; known are {', '.join(known)}")
            if name == "symmetric":
                check_bool(value, f"{key}.symmetric")
        if "per_channel" in changes:
            changes = {**changes, "per_channel": self._granularity(changes["per_channel"], key)}
        merged = replace(self, **changes)
        return replace(merged, num_bits=check_num_bits(merged.num_bits, f"{key}.num_bits"))

    def _granularity(self, value: Any, key: str) -> bool | str:
        """``value`` as this spec's kind of tensor has it: a switch or a name."""
        if isinstance(self.per_channel, bool):
            return check_bool(value, f"{key}.per_channel")
        value = "none" if value is False else value
        if value not in ACT_GRANULARITIES:
            names = " or ".join(repr(name) for name in ACT_GRANULARITIES)
            raise ConfigError(f"{key}.per_channel = {value!r}: of activations must be {names}")
        return str(value)


WEIGHT_DEFAULT = TensorSpec(num_bits=8, symmetric=True, per_channel=True)
ACT_DEFAULT = TensorSpec(num_bits=8, symmetric=False, per_channel="depthwise")


@dataclass(frozen=True)
class Override:
    """Changes for the layers that a name pattern or a role picks.

    Args:
        patterns: Shell-style patterns of the layer's name (``backbone.*``), of which one must fit;
            ``None`` where a role picks.
        role: One of :data:`ROLES`, or ``None``.
        changes: For ``weight`` and ``act``: a dict of changes, or ``None`` for float; a missing key
            leaves the default.
        key: Where it stands in the config.
    """

    patterns: tuple[str, ...] | None
    role: str | None
    changes: Mapping[str, Mapping[str, Any] | None]
    key: str

    @classmethod
    def parse(cls, cfg: Mapping[str, Any], key: str) -> "Override":
        """Read one entry of ``overrides``.

        Raises:
            ConfigError: It is malformed.
        """
        known = ("pattern", "role", "weight", "act")
        if not isinstance(cfg, Mapping):
            raise ConfigError(f"{key} = {cfg!r}: must be a dict with {', '.join(known)}")
        for name in cfg:
            if name not in known:
                raise ConfigError(f"{key}.{name}: unknown key; known are {', '.join(known)}")
        if ("pattern" in cfg) == ("role" in cfg):
            raise ConfigError(f"{key}: give either 'pattern' or 'role'")
        patterns = _patterns(cfg["pattern"], key) if "pattern" in cfg else None
        if "role" in cfg and cfg["role"] not in ROLES:
            raise ConfigError(f"{key}.role = {cfg['role']!r}: must be one of {', '.join(ROLES)}")
        changes = {name: cfg[name] for name in ("weight", "act") if name in cfg}
        if not changes:
            raise ConfigError(f"{key}: changes nothing; give 'weight' or 'act'")
        return cls(patterns, cfg.get("role"), changes, key)

    def matches(self, name: str, roles: Iterable[str]) -> bool:
        """Whether the layer ``name`` with ``roles`` is picked."""
        if self.patterns is not None:
            return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)
        return self.role is not None and self.role in roles

    def apply(self, which: str, spec: TensorSpec | None, base: TensorSpec) -> TensorSpec | None:
        """``spec`` of ``which`` ('weight' or 'act') after this override.

        Where the default is float (``spec`` is ``None``), the changes are made to ``base``.
        """
        if which not in self.changes:
            return spec
        changes = self.changes[which]
        if changes is None:
            return None
        return (spec or base).merged(changes, f"{self.key}.{which}")


def _patterns(value: Any, key: str) -> tuple[str, ...]:
    """One pattern, or several of which models have some."""
    patterns = (value,) if isinstance(value, str) else value
    fine = isinstance(patterns, list | tuple) and all(isinstance(one, str) for one in patterns)
    if not fine or not patterns:
        raise ConfigError(f"{key}.pattern = {value!r}: must be a string, or a list of strings")
    return tuple(patterns)
