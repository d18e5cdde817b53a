"""What images that a step did not see say of what it learned."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """An objective's mean over images that a step did not see.

    Args:
        step: Its name.
        objective: By which they judge.
        images: How many there are.
        before: The mean at the step's start.
        after: At its end.
    """

    step: str
    objective: str
    images: int
    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether the step's end is no worse; NaN is worse than any number."""
        return math.isnan(self.before) or self.after <= self.before

    def __str__(self) -> str:
        """One line for people."""
        end = "kept" if self.kept else "worse than the step's start, which is kept in its place"
        return (
            f"{self.step}: {self.objective} on {self.images} images that it did not see "
            f"{self.before:.4g} -> {self.after:.4g}: {end}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; ``None`` stands for NaN."""
        data = asdict(self)
        numbers = ("before", "after")
        return data | {key: None if math.isnan(data[key]) else data[key] for key in numbers}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Verdict":
        """What :meth:`to_json` gave."""
        numbers = {k: math.nan if data[k] is None else float(data[k]) for k in ("before", "after")}
        return cls(str(data["step"]), str(data["objective"]), int(data["images"]), **numbers)
