"""The rules of a runtime, as data."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmptq.errors import ConfigError

REDUCED_BITS = 7
_SWITCHES = ("reduce_range", "quantize_outputs")
_OPTIONS = (*_SWITCHES, "output_bits")


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
        quantize_outputs: Whether outputs of convolutions get a quantizer where something else than
            one quantizer reads them: it computes a convolution in integers only with one behind.
        output_bits: Bits of these outputs.
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
    quantize_outputs: bool = False
    output_bits: float = 8.0

    def configured(self, cfg: Mapping[str, Any]) -> "Target":
        """With the options of ``qconfig.target = dict(type=..., ...)``.

        ``reduce_range=True``: weights have at most 7 bits, for CPUs whose instructions add pairs of
        8-bit products in 16 bits. ``quantize_outputs`` and ``output_bits``: see the class.

        Raises:
            ConfigError: An option is unknown, or its value of the wrong kind.
        """
        for key, value in cfg.items():
            if key not in ("type", *_OPTIONS):
                close = difflib.get_close_matches(key, _OPTIONS, n=1)
                known = ", ".join(("type", *_OPTIONS))
                hint = f"did you mean {close[0]!r}?" if close else f"known: {known}"
                raise ConfigError(f"qconfig.target.{key}: unknown key; {hint}")
            if key in _SWITCHES and not isinstance(value, bool):
                raise ConfigError(f"qconfig.target.{key} = {value!r}: must be True or False")
        bits = cfg.get("output_bits", self.output_bits)
        if isinstance(bits, bool) or not isinstance(bits, int | float) or not 2 <= bits <= 8:
            raise ConfigError(
                f"qconfig.target.output_bits = {bits!r}: must be a number from 2 to 8"
            )
        return replace(
            self,
            weight_bits=REDUCED_BITS if cfg.get("reduce_range") else self.weight_bits,
            quantize_outputs=cfg.get("quantize_outputs", self.quantize_outputs),
            output_bits=float(bits),
        )
