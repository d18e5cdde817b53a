"""One method's figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from mmptq.errors import MmptqError

FLOAT_METHOD = "float"


@dataclass
class ResultRow:
    """What one method reached, and at what cost.

    Args:
        method: ``float`` for the float model, else the recipe's label.
        scope: The qconfig's scope preset (``-`` for the float model).
        w_bits: Nominal bit-width of the weights, 32 for float.
        a_bits: Nominal bit-width of the activations, 32 for float.
        metrics: As MMEngine's evaluator returns them. The metric's prefix (``coco/bbox_mAP``) is
            dropped; what is no number (mmdet's ``bbox_mAP_copypaste``) is left out.
        size_mb: Size of the stored model in megabytes (10**6 bytes).
        gbops: Bit operations per image in units of 10**9.
        seconds: Duration of the calibration, ``None`` where there was none.
        images: Number of calibration images, ``None`` where there were none.
        mac_share: Share of the multiply-adds of which both operands are quantized, in [0, 1].
        ms: Milliseconds of an image, where a runtime has computed it.
        runtime: What has computed it, such as ``openvino``; ``None`` for a simulation.
    """

    method: str
    scope: str
    w_bits: float
    a_bits: float
    metrics: dict[str, float] = field(default_factory=dict)
    size_mb: float | None = None
    gbops: float | None = None
    seconds: float | None = None
    images: int | None = None
    mac_share: float | None = None
    ms: float | None = None
    runtime: str | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Not once in the constructor: metrics are often set when the evaluation is done.
        super().__setattr__(name, plain_metrics(value) if name == "metrics" else value)

    @property
    def is_float(self) -> bool:
        """Whether this is the row of the float model."""
        return self.method == FLOAT_METHOD

    @property
    def bits(self) -> str:
        """The bit-widths as the field writes them, such as ``W4A8``."""
        return f"W{self.w_bits:g}A{self.a_bits:g}"

    def to_dict(self) -> dict[str, Any]:
        """A flat dict for JSON: the metrics stand beside the rest, NaN is ``None``.

        ``ms`` and ``runtime`` are there only where a runtime has computed the row.
        """
        numbers = {key: _json_number(value) for key, value in self.metrics.items()}
        head = {"method": self.method, "scope": self.scope}
        bits = {"w_bits": _json_number(self.w_bits), "a_bits": _json_number(self.a_bits)}
        costs = [key for key in _COSTS if key != "ms" or self.ms is not None]
        tail = {key: _json_number(getattr(self, key)) for key in costs}
        runtime = {} if self.runtime is None else {"runtime": self.runtime}
        return {**head, **bits, **numbers, **tail, **runtime}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ResultRow":
        """Inverse of :meth:`to_dict`.

        Raises:
            MmptqError: A key is missing or a value is no number.
        """
        lacking = [key for key in _IDENTITY if key not in data]
        if lacking:
            raise MmptqError(f"a row of the results lacks {', '.join(lacking)}: {dict(data)!r}")
        metrics = {k: _read_number(v, k) for k, v in data.items() if k not in RESERVED}
        known = {k: v for k, v in data.items() if k in RESERVED}
        return cls(metrics=metrics, **known)


_IDENTITY = ("method", "scope", "w_bits", "a_bits")
_COSTS = ("size_mb", "gbops", "seconds", "images", "mac_share", "ms")
RESERVED = (*_IDENTITY, *_COSTS, "runtime", "metrics")


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Numbers only, as Python floats, without prefix where that leaves the name unique.

    Of several data sets each metric keeps its own (``<set>/<metric's prefix>/<name>``).
    """
    numbers = {key: float(v) for key, v in metrics.items() if _is_number(v)}
    sets = {key.partition("/")[0] for key in numbers if key.count("/") > 1}
    short = [key.rpartition("/")[2] for key in numbers]
    return {
        name if len(sets) < 2 and short.count(name) == 1 and name not in RESERVED else key: value
        for name, (key, value) in zip(short, numbers.items(), strict=True)
    }


def count_vanished(rows: Sequence[ResultRow]) -> list[str]:
    """Count as 0 the metrics that a quantized row lacks and another row has, in place.

    MMDetection's ``CocoMetric`` returns none where nothing was detected at all.

    Args:
        rows: Of one evaluator.

    Returns:
        The methods of the rows that lacked any.
    """
    values = {key: value for row in rows for key, value in row.metrics.items()}
    vanished = []
    for row in rows:
        lacking = {key: value for key, value in values.items() if key not in row.metrics}
        if lacking and not row.is_float:
            vanished.append(row.method)
            # COCO's -1 says that there is no object of the kind, whatever was detected.
            row.metrics = row.metrics | {k: min(v, 0.0) for k, v in lacking.items()}
    return vanished


def _is_number(value: Any) -> bool:
    # numpy's floats register as Real; 0-dim tensors and arrays have item().
    if isinstance(value, bool):
        return False
    return isinstance(value, Real) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0)


def _json_number(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _read_number(value: Any, key: str) -> float:
    if value is None:
        return math.nan
    if not _is_number(value):
        raise MmptqError(f"a row of the results has {key} = {value!r}; it must be a number")
    return float(value)
