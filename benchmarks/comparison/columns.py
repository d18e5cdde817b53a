"""The bit-widths that methods are compared at: ``W4A4``, or a scope's: ``backbone_neck-W4A4``."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmptq.errors import ConfigError
from mmptq.models.scopes import SCOPES

COLUMNS = ("W8A8", "W6A6", "W4A8", "W4A4", "W3A3", "W2A4")
FORM = re.compile(r"(?:(?P<scope>\w+)-)?W(?P<w>\d+)A(?P<a>\d+)")
FLOAT_BITS = 32


class Column(NamedTuple):
    """What is quantized to how many bits.

    Args:
        name: As given.
        scope: None: that of the model's config.
        weight: Bits of weights, 32 for float.
        act: Bits of activations, the same.
    """

    name: str
    scope: str | None
    weight: int
    act: int

    def qconfig(self, given: dict[str, Any]) -> dict[str, Any]:
        """The ``qconfig`` of this column.

        Args:
            given: The model's own, of which all but the bits stays. A scope that the column names
                is a protocol of its own: it decides everything else.
        """
        specs = {"weight": self.weight, "act": self.act}
        own: dict[str, Any] = given if self.scope is None else {"scope": self.scope}
        quantized = {
            which: None if bits == FLOAT_BITS else {**(own.get(which) or {}), "num_bits": bits}
            for which, bits in specs.items()
        }
        return {**own, **quantized}


def find_columns(names: Sequence[str]) -> list[Column]:
    """The columns, each once.

    Raises:
        ConfigError: One has another form, or names an unknown scope or impossible bits.
    """
    return [_find(name) for name in dict.fromkeys(names)]


def _find(name: str) -> Column:
    found = FORM.fullmatch(name)
    bits = [int(found[which]) for which in ("w", "a")] if found else []
    right = all(1 <= b <= 16 or b == FLOAT_BITS for b in bits)
    if found is None or not right or (found["scope"] or "full") not in SCOPES:
        raise ConfigError(
            f"there is no column {name!r}; known: {', '.join(COLUMNS)} and others of this form "
            f"(1 to 16 bits, 32 for float), also behind a scope ({', '.join(SCOPES)}), as in "
            "backbone_neck-W4A4"
        )
    return Column(name, found["scope"], *bits)
