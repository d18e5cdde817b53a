"""What an allocation may cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE, Costs
from mmptq.algorithms.mixed_precision.groups import uniform
from mmptq.errors import ConfigError

_UNITS = {SIZE: "MB", GBOPS: "GBOPs"}


@dataclass(frozen=True)
class Budget:
    """Limits of size and bit operations.

    Args:
        size_mb: In MB (10**6 bytes), as the results' table counts; or ``'W4A4'``: what the model
            takes with these bits in all that is not fixed. ``None``: no limit.
        gbops: Likewise.
    """

    size_mb: float | str | None = None
    gbops: float | str | None = None

    def __post_init__(self) -> None:
        for key, value in self._given().items():
            _check(key, value)

    def __bool__(self) -> bool:
        return bool(self._given())

    def limits(self, costs: Costs) -> dict[str, float]:
        """In numbers.

        Raises:
            ConfigError: Less than the least possible, which is named.
        """
        limits, least = {}, costs.least()
        for key, value in self._given().items():
            limit = value if isinstance(value, float | int) else _of_uniform(value, key, costs)
            # A uniform plan's own cost must be reached, whatever the order of the sums.
            limits[key] = float(limit) * (1 + 1e-9)
            if least[key] > limits[key]:
                raise ConfigError(
                    f"MixedPrecision.{key} = {value!r}: the least possible is "
                    f"{least[key]:.4g} {_UNITS[key]}, with the fewest bits there are to choose; "
                    "raise the budget, or add fewer bits to weight_bits or act_bits"
                )
        return limits

    def _given(self) -> dict[str, Any]:
        found = {SIZE: self.size_mb, GBOPS: self.gbops}
        return {key: value for key, value in found.items() if value is not None}


def _check(key: str, value: Any) -> None:
    if isinstance(value, str) and _bits(value) is None:
        raise ConfigError(
            f"MixedPrecision.{key} = {value!r}: must be a number, or bits such as 'W4A4'"
        )
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str) and not (number and 0 < value < float("inf")):
        raise ConfigError(f"MixedPrecision.{key} = {value!r}: must be a positive number")


def _bits(text: str) -> tuple[float, float] | None:
    found = re.fullmatch(r"[wW](\d+(?:\.\d+)?)[aA](\d+(?:\.\d+)?)", text)
    return None if found is None else (float(found[1]), float(found[2]))


def _of_uniform(text: str, key: str, costs: Costs) -> float:
    bits = _bits(text)
    assert bits is not None
    for which, wanted in zip(("weight", "act"), bits, strict=True):
        choices = costs.choices(which)
        if choices and wanted not in choices:
            raise ConfigError(
                f"MixedPrecision.{key} = {text!r}: {which}_bits has no {wanted:g}; it has "
                f"{', '.join(f'{b:g}' for b in choices)}"
            )
    return costs(uniform(costs.groups, *bits))[key]


def describe(costs: Mapping[str, float]) -> str:
    """``0.576 MB, 1.23 GBOPs``."""
    return ", ".join(f"{costs[key]:.4g} {unit}" for key, unit in _UNITS.items())
