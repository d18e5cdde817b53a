"""One row of one run, and what tells it from another."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmptq.errors import MmptqError
from mmptq.evaluation import ResultRow
from mmptq.leaderboard.runs import Run
from mmptq.models import QConfig

BASELINE = "minmax"
SIMULATED = "simulated"

# Entries of calib_cfg that change no number, or are told in columns of their own.
_NO_SETTINGS = ("seed", "baseline", "eval_float", "cache_gb", "labels")
_OF_RECIPE = ("method", "steps", "units")
_MINMAX_STEPS = (
    [{"type": "RangeCalibration"}],
    [
        {
            "type": "RangeCalibration",
            "weight": {"type": "MinMaxObserver"},
            "act": {"type": "MinMaxObserver"},
        }
    ],
)
# Before rows had a runtime, their label had.
_OLD_LABEL = re.compile(r"(.+) in (openvino|onnxruntime)")


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (``None`` of a single value)."""

    mean: float
    std: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """Of those that are numbers; ``None`` where none is."""
        known = [v for v in values if v is not None and math.isfinite(v)]
        if not known:
            return None
        std = float(np.std(known, ddof=1)) if len(known) > 1 else None
        return cls(float(np.mean(known)), std)


@dataclass(frozen=True)
class Sample:
    """One run's row."""

    run: Run
    row: ResultRow

    @property
    def runtime(self) -> str:
        """What has computed it."""
        if self.row.runtime is not None:
            return self.row.runtime
        old = _OLD_LABEL.fullmatch(self.row.method) if self.row.ms is not None else None
        return old[2] if old else SIMULATED

    @property
    def method(self) -> str:
        """The row's label without its runtime."""
        return self.row.method.removesuffix(f" in {self.runtime}")

    @property
    def seed(self) -> int:
        """Of the calibration."""
        return self.run.results.calibration.get("seed", 0)

    @property
    def qconfig(self) -> dict[str, Any]:
        """What was quantized."""
        return self.run.results.calibration.get("qconfig", {})

    @property
    def settings(self) -> dict[str, Any]:
        """All that must be equal in what is one cell; the naive baseline knows no recipe."""
        calibration = self.run.results.calibration
        if self.row.is_float:
            return {}
        left_out = set(_NO_SETTINGS)
        own = self.method == calibration.get("method")
        if self.method == BASELINE and (not own or calibration.get("steps") in _MINMAX_STEPS):
            left_out |= set(_OF_RECIPE)
        return {key: value for key, value in calibration.items() if key not in left_out}

    def equals(self, other: "Sample") -> bool:
        """Whether it is the same measurement again, such as the min-max beside another recipe."""
        if self.row.is_float:
            return True
        same = (self.seed, self.row.metrics, self.row.ms)
        return same == (other.seed, other.row.metrics, other.row.ms)


def target_name(qconfig: dict[str, Any]) -> str:
    """The runtime whose rules the plan obeys, with the options that are on; ``-`` without."""
    target = qconfig.get("target")
    if not isinstance(target, dict):
        return str(target or "-")
    options = [key for key, value in target.items() if key != "type" and value is True]
    return " +".join([str(target.get("type", "-")), *options])


def edge_bits(qconfig: dict[str, Any]) -> str:
    """As ``W8A8, W8A8``, by the scope; a star where single layers are set otherwise."""
    try:
        parsed = QConfig.parse(qconfig)
        edges = [parsed.resolve("", roles) for roles in (("backbone", "first"), ("head", "last"))]
    except (MmptqError, TypeError, ValueError, AttributeError):  # of another version, or edited
        return "-"
    texts = [
        "float"
        if weight is None and act is None
        else f"W{weight.num_bits if weight else 32:g}A{act.num_bits if act else 32:g}"
        for weight, act in edges
    ]
    return ", ".join(texts) + (" *" if qconfig.get("overrides") else "")
