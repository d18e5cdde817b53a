"""What is known of how much one quantizer at one bit-width hurts; what a choice of bits reads."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from mmptq.models.stages import in_order
from mmptq.ops import MAX_BITS

# Measures of a record, and whether they are cheap: from one pass, in place of one each.
CHEAP = ("sqnr", "fisher", "projected")
DEAR = ("alone", "rest")


@dataclass(frozen=True)
class Sensitivity:
    """One quantizer at one bit-width.

    Distances are those of :class:`~mmptq.engine.OutputDistance`: shares of the variance of the
    heads' outputs.

    Args:
        name: ``<layer>.weight``, or ``<layer>.act`` with the call where a layer's calls differ.
        layers: Those that read through it, or the one whose weight it quantizes.
        which: ``'weight'`` or ``'act'``, as in the ``qconfig``.
        stage: Part of the detector (:mod:`mmptq.models.stages`).
        num_bits: Its bit-width.
        macs: Multiply-accumulate operations of an image in which its tensor takes part.
        numel: Elements of its tensor; of an activation, the mean over images.
        sqnr: Signal over quantization noise of its tensor, in dB; infinite without an error.
        fisher: Second-order estimate of ``alone``: the diagonal of the Fisher information of the
            heads' outputs times the squared error, element by element.
        fisher_error: Its standard error over the images.
        projected: The same with the errors' correlations: squared product of gradient and error.
        projected_error: Its standard error over the images.
        alone: Distance with it alone quantized, ``None`` if not measured.
        rest: Distance of the whole quantized model less that with all quantized but it.
        metric_alone: Metric with it alone quantized.
        metric_without: Metric with all quantized but it.
    """

    name: str
    layers: tuple[str, ...]
    which: str
    stage: str
    num_bits: float
    macs: int
    numel: float
    sqnr: float
    fisher: float
    fisher_error: float
    projected: float
    projected_error: float
    alone: float | None = None
    rest: float | None = None
    metric_alone: float | None = None
    metric_without: float | None = None

    @property
    def more_bits(self) -> int:
        """A bit-width with which it does little harm."""
        return 8 if self.num_bits < 8 else int(MAX_BITS)

    @property
    def harm(self) -> float:
        """What it is ranked by: the measured distance, else the estimate; NaN counts as infinite.

        An output that is not finite is worse than anything.
        """
        value = self.projected if self.alone is None else self.alone
        return math.inf if math.isnan(value) else value

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Sensitivity":
        """Inverse of :meth:`to_dict`; what it does not know is left out."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return cls(**known | {"layers": tuple(values["layers"])})


@dataclass(frozen=True)
class StageSensitivity:
    """The sums over one stage.

    Args:
        stage: Its name.
        quantizers: How many it has.
        macs: Of its weights' layers.
        fisher: Sum of the quantizers'.
        projected: Likewise.
        alone: Likewise, NaN where an output was not finite, ``None`` if not measured.
        rest: Likewise.
    """

    stage: str
    quantizers: int
    macs: int
    fisher: float
    projected: float
    alone: float | None
    rest: float | None


def worst_first(records: Iterable[Sensitivity]) -> list[Sensitivity]:
    """Records by :attr:`Sensitivity.harm`."""
    return sorted(records, key=lambda record: -record.harm)


def sum_by_stage(records: Sequence[Sensitivity]) -> list[StageSensitivity]:
    """One sum a stage, as the image passes them."""
    return [
        _sum(stage, [record for record in records if record.stage == stage])
        for stage in in_order(record.stage for record in records)
    ]


def _sum(stage: str, records: Sequence[Sensitivity]) -> StageSensitivity:
    return StageSensitivity(
        stage,
        len(records),
        sum(record.macs for record in records if record.which == "weight"),
        sum(record.fisher for record in records),
        sum(record.projected for record in records),
        _total([record.alone for record in records]),
        _total([record.rest for record in records]),
    )


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
