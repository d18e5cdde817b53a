"""The rules of a runtime, as data."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmptq.errors import ConfigError

REDUCED_BITS = 7


@dataclass(frozen=True)
class Target:
    """A runtime.

    To add one: a file beside this one, listed in ``mmptq/targets/__init__.py``.

    Args:
        name: As on the command line.
        summary: What it executes in integers.
        runtime: Key of :data:`mmptq.runtime.RUNTIMES` in which an export is checked.
        zero_points: Whether activations may have a zero point other than 0.
        unsigned: Whether codes of activations may be unsigned.
        weight_zero_points: Whether it computes in integers where weights have zero points.
        int4: Whether it reads weights that are stored in 4 bits.
        weight_bits: The most bits of a weight.
        int32_bias: Whether it rounds the bias of a layer with quantized operands to whole multiples
            of the product of their steps.
    """

    name: str
    summary: str
    runtime: str
    zero_points: bool = True
    unsigned: bool = True
    weight_zero_points: bool = False
    int4: bool = True
    weight_bits: int = 8
    int32_bias: bool = False

    def configured(self, cfg: Mapping[str, Any]) -> "Target":
        """With the options of ``qconfig.target = dict(type=..., ...)``.

        ``reduce_range=True``: weights have at most 7 bits, for CPUs whose instructions add pairs of
        8-bit products in 16 bits.

        Raises:
            ConfigError: An option is unknown or no switch.
        """
        for key, value in cfg.items():
            if key not in ("type", "reduce_range"):
                close = difflib.get_close_matches(key, ["reduce_range"], n=1)
                hint = f"did you mean {close[0]!r}?" if close else "known: type, reduce_range"
                raise ConfigError(f"qconfig.target.{key}: unknown key; {hint}")
            if key == "reduce_range" and not isinstance(value, bool):
                raise ConfigError(f"qconfig.target.{key} = {value!r}: must be True or False")
        bits = REDUCED_BITS if cfg.get("reduce_range") else self.weight_bits
        return replace(self, weight_bits=bits)
