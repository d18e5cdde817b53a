"""Bit-widths as one writes them, and the qconfig that they mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmptq.errors import ConfigError
from mmptq.models import QConfig
from mmptq.models.specs import check_num_bits

FLOAT_BITS = 32
_FORMS = (r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)", r"[wW](\d+(?:\.\d+)?)[aA](\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class BitWidths:
    """Bit-widths of weights and activations, 32 for float."""

    weight: float
    act: float

    @classmethod
    def parse(cls, text: str) -> "BitWidths":
        """Read ``'4/4'`` or ``'W4A4'``.

        Raises:
            ConfigError: It is neither, or a bit-width is out of range, or both are float.
        """
        found = next((m for form in _FORMS if (m := re.fullmatch(form, text))), None)
        if found is None:
            raise ConfigError(f"bits {text!r}: must be like 4/8 or W4A8 (32 is float)")
        widths = cls(*(_number(part) for part in found.groups()))
        for width in (widths.weight, widths.act):
            if width != FLOAT_BITS:
                check_num_bits(width, f"bits {text!r}")
        if widths.weight == widths.act == FLOAT_BITS:
            raise ConfigError(f"bits {text!r}: nothing would be quantized")
        return widths

    @classmethod
    def of(cls, qconfig: Mapping[str, Any]) -> "BitWidths":
        """Those that a ``qconfig`` has as its defaults.

        Raises:
            ConfigError: It is malformed.
        """
        parsed = QConfig.parse(qconfig)
        specs = (parsed.weight, parsed.act)
        return cls(*(FLOAT_BITS if spec is None else spec.num_bits for spec in specs))

    @property
    def label(self) -> str:
        """``W4A8``."""
        return f"W{self.weight:g}A{self.act:g}"

    def apply(self, qconfig: Mapping[str, Any]) -> dict[str, Any]:
        """``qconfig`` with these bit-widths as its defaults; overrides and scope stay."""
        changed = dict(qconfig)
        for key, width in (("weight", self.weight), ("act", self.act)):
            spec = {**(changed.get(key) or {}), "num_bits": width}
            changed[key] = None if width == FLOAT_BITS else spec
        return changed


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
