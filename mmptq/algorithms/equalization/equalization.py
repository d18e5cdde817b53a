"""Evens out the ranges of channels, so that one step fits all of a tensor's channels better."""

import logging
from collections.abc import Mapping, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmptq.algorithms.base import Step
from mmptq.algorithms.equalization.scaling import Scaling, balancing_factor
from mmptq.algorithms.equalization.sites import explicit_groups
from mmptq.engine import CalibrationContext, channel_ranges, float_form, probing
from mmptq.errors import ConfigError, NumericalError
from mmptq.models import QuantModel
from mmptq.models.specs import check_bool
from mmptq.models.trace import flatten_tensors
from mmptq.registry import STEPS

Links = Sequence[tuple[str, str]]
Groups = Sequence[Sequence[str]]

RANGES = ("activations", "weights")
# Rounding moves the outputs by some 1e-6 of their largest value.
_ROUNDING = 1e-2


@STEPS.register_module()
class Equalization(Step):
    """Moves a factor per channel from one layer to the next (Nagel et al. 2019, section 4.1).

    Where a layer reads what another wrote through nothing but ReLU, LeakyReLU, pooling and the
    like, the first layer's output channels are divided and the second one's input channels
    multiplied by a factor each; the float model computes the same. The plan holds these links.

    It stands before the step that sets the ranges.

    Args:
        ranges: What is evened out. ``"activations"``: the activation that passes and the second
            layer's weight (SmoothQuant, Xiao et al. 2023), once. ``"weights"``: both layers'
            weights (Nagel et al.), over and over until no factor changes any more.
        alpha: With ``"activations"`` and ``explicit``: how much of the difference between channels
            moves from the activation into the weight, from 0 to 1.
        explicit: Where no link is, divide explicitly in front of the activation quantizer. This
            costs one multiplication for each element when the model runs.
        max_iters: With ``"weights"``: sweeps over all links.
        tolerance: With ``"weights"``: the sweeps end when each factor is this close to 1.

    Raises:
        ConfigError: An argument cannot work.
    """

    changes_activations = True
    needs_float_weights = True

    def __init__(
        self,
        ranges: str = "activations",
        alpha: float = 0.5,
        explicit: bool = False,
        max_iters: int = 20,
        tolerance: float = 1e-3,
    ) -> None:
        if ranges not in RANGES:
            raise ConfigError(f"Equalization.ranges = {ranges!r}: must be one of {RANGES}")
        if isinstance(alpha, bool) or not 0.0 <= alpha <= 1.0:
            raise ConfigError(f"Equalization.alpha = {alpha!r}: must be from 0 to 1")
        check_bool(explicit, "Equalization.explicit")
        if isinstance(max_iters, bool) or not isinstance(max_iters, int) or max_iters < 1:
            raise ConfigError(f"Equalization.max_iters = {max_iters!r}: must be 1 or more")
        if not tolerance > 0.0:
            raise ConfigError(f"Equalization.tolerance = {tolerance!r}: must be more than 0")
        self.ranges, self.alpha, self.explicit = ranges, alpha, explicit
        self.max_iters, self.tolerance = max_iters, tolerance

    def run(self, context: CalibrationContext) -> None:
        """Scale the weights; no quantizer has a range afterwards.

        Raises:
            NumericalError: The float model computes something else afterwards.
        """
        model = context.model
        assert model.plan is not None
        links, groups = self._links(model), explicit_groups(model) if self.explicit else []
        with torch.no_grad(), probing(model, context.adapter) as (forward, image):
            before = list(flatten_tensors(forward(image)))
            self._equalize(context, links, groups)
            model.start_pass()
            check_same(type(self).__name__, before, list(flatten_tensors(forward(image))))
        model.forget_ranges()
        _report(len(links), len(groups), len(model.plan.sites))

    def _links(self, model: QuantModel) -> Links:
        assert model.plan is not None
        if self.ranges == "weights":
            return model.plan.links
        # Where the activation stays float the weight would only become uneven.
        readers = {layer.name for layer in model.plan.layers if any(layer.inputs)}
        return [(before, after) for before, after in model.plan.links if after in readers]

    def _equalize(self, context: CalibrationContext, links: Links, groups: Groups) -> None:
        layers = dict(context.model.quant_layers())
        scaling = Scaling(layers)
        watched = {name for group in groups for name in group}
        if self.ranges == "activations":
            watched |= {after for _, after in links}
        seen = _channel_ranges(context, watched)
        if self.ranges == "activations":
            self._even_activations(scaling, links, seen)
        else:
            self._even_weights(scaling, links)
        for group in groups:
            if seen.keys() >= set(group):
                reach = torch.stack([seen[name] for name in group]).amax(0)
                weights = torch.stack([scaling.input_range(name) for name in group]).amax(0)
                factor = self._factor(reach, weights)
                for name in group:
                    scaling.multiply_inputs(name, factor)
                    layers[name].set_input_factor(factor)
        scaling.write()

    def _even_activations(self, scaling: Scaling, links: Links, seen: Mapping[str, Tensor]) -> None:
        for before, after in links:
            if after in seen:
                factor = self._factor(seen[after], scaling.input_range(after))
                _move(scaling, before, after, factor)

    def _factor(self, reach: Tensor, weights: Tensor) -> Tensor:
        return balancing_factor(reach.to(weights), weights, self.alpha)

    def _even_weights(self, scaling: Scaling, links: Links) -> None:
        for _ in range(self.max_iters):
            change = 0.0
            for before, after in links:
                a, b = scaling.output_range(before), scaling.input_range(after)
                factor = balancing_factor(a, b, 0.5)
                _move(scaling, before, after, factor)
                change = max(change, float((factor - 1).abs().max()))
            if change <= self.tolerance:
                return


def _channel_ranges(context: CalibrationContext, layers: set[str]) -> dict[str, Tensor]:
    if not layers:
        return {}
    data = context.data
    with float_form(context.model):
        batches = context.track(data, "channel ranges", len(data))
        return channel_ranges(context.model, layers, batches)


def _move(scaling: Scaling, before: str, after: str, factor: Tensor) -> None:
    scaling.divide_outputs(before, factor)
    scaling.multiply_inputs(after, factor)


def check_same(step: str, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
    """Make sure that two lists of outputs are the same but for rounding.

    Raises:
        NumericalError: They are not; names the step that changed something.
    """
    for a, b in zip(before, after, strict=True):
        if a.numel() and not float((a - b).abs().max()) <= _ROUNDING * float(a.abs().max()):
            raise NumericalError(
                f"{step} changes what the float model computes: its layers exchange tensors "
                "in a way that was not seen; take it out of calib_cfg.steps"
            )


def _report(links: int, groups: int, sites: int) -> None:
    idle = links + groups == 0
    print_log(
        f"Equalization: of {sites} activations {links} are evened out by a factor that moves from "
        f"layer to layer, {groups} by an explicit one"
        + ("; explicit=True would find some" if idle else ""),
        logger="current",
        level=logging.WARNING if idle else logging.INFO,
    )
