"""Which quantizers make a model collapse: what each alone does to the heads' outputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from mmptq.engine import CalibrationContext, LossEvaluator, float_form
from mmptq.models import Plan, QuantModel
from mmptq.models.bits import layer_override
from mmptq.ops import MAX_BITS
from mmptq.quantizers import UniformQuantizer

_OBJECTIVE = {"type": "OutputDistance"}


@dataclass(frozen=True)
class Blame:
    """One quantizer's own error.

    Args:
        layers: Those that read through it, or the one whose weight it quantizes.
        which: ``'weight'`` or ``'act'``, as in the ``qconfig``.
        num_bits: Its bit-width.
        low: Least value of its range.
        high: Largest one.
        error: Share of the heads' variance that it alone destroys, all else in float.
    """

    layers: tuple[str, ...]
    which: str
    num_bits: float
    low: float
    high: float
    error: float

    @property
    def more_bits(self) -> int:
        """A bit-width with which it does no harm."""
        return 8 if self.num_bits < 8 else int(MAX_BITS)

    def describe(self) -> str:
        """One line."""
        what = "weight" if self.which == "weight" else "input"
        others = f" (and {len(self.layers) - 1} more)" if len(self.layers) > 1 else ""
        return (
            f"{what} of {self.layers[0]}{others}: {self.num_bits:g} bit, range {self.low:.4g} to "
            f"{self.high:.4g}, error {self.error:.3g}"
        )


def find_blame(context: CalibrationContext, images: int = 2, worst: int = 5) -> list[Blame]:
    """The quantizers with the largest own error, the worst first.

    One sweep: each quantizer is on alone once, and only what lies behind it is computed again.

    Args:
        context: With the calibrated model, which is left as it is.
        images: Calibration images to measure on.
        worst: How many to return.
    """
    model = context.model
    found = []
    with float_form(model):
        # Never the same outputs are reused twice: comparing each would be a second sweep.
        evaluator = LossEvaluator(context, _OBJECTIVE, check=False, positions=range(images))
        named = list(_named(model))
        for layers, which, quantizer in context.track(named, "each quantizer alone", len(named)):
            with _alone(quantizer):
                error = evaluator()
            low, high = float(quantizer.range_low.min()), float(quantizer.range_high.max())
            bits = quantizer.scheme.num_bits
            found.append(Blame(layers, which, bits, low, high, error))
    # NaN, an output that is not finite, is worse than anything.
    found.sort(key=lambda blame: (blame.error == blame.error, -blame.error))
    return found[:worst]


class Blamed(Protocol):
    """A quantizer that is to have more bits, as :class:`Blame` describes it."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that read through it, or the one whose weight it quantizes."""

    @property
    def which(self) -> str:
        """``'weight'`` or ``'act'``."""

    @property
    def more_bits(self) -> int:
        """A bit-width with which it does no harm."""


def overrides(blamed: Sequence[Blamed], plan: Plan) -> list[dict[str, Any]]:
    """What keeps the blamed in more bits, to stand first in ``qconfig.overrides``.

    An entry hides all others for its layer, so it says what the layer had by them, too.
    """
    changes: dict[str, dict[str, Any]] = {}
    for blame in blamed:
        for name in blame.layers:
            change = changes.setdefault(name, layer_override(plan, name))
            change[blame.which]["num_bits"] = blame.more_bits
    return list(changes.values())


def _named(model: QuantModel) -> Iterator[tuple[tuple[str, ...], str, UniformQuantizer]]:
    """In the order of execution, so that each is close behind the one before."""
    assert model.plan is not None
    weights = model.weight_quantizers()
    for layer in model.plan.layers:
        for site in model.plan.sites:
            if site.owner == layer.name and model.sites[site.name].calibrated:
                readers = tuple(x.name for x in model.plan.layers if site.name in x.inputs)
                yield readers, "act", model.sites[site.name]
        if layer.name in weights and weights[layer.name].calibrated:
            yield (layer.name,), "weight", weights[layer.name]


@contextmanager
def _alone(quantizer: UniformQuantizer) -> Iterator[None]:
    quantizer.enabled = True
    try:
        yield
    finally:
        quantizer.enabled = False
