"""A bit-width for each weight and each activation, under a budget."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mmengine.logging import print_log
from typing_extensions import override

from mmptq.algorithms.base import Step
from mmptq.algorithms.mixed_precision.budget import Budget
from mmptq.algorithms.mixed_precision.candidates import Candidate, candidates
from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE, Costs
from mmptq.algorithms.mixed_precision.groups import allocated_plan, find_groups
from mmptq.algorithms.mixed_precision.harm import DISTANCE, Harm, harms_of, total
from mmptq.algorithms.mixed_precision.least_cost import least_cost
from mmptq.algorithms.mixed_precision.measure import FLOAT, accuracies, losses
from mmptq.algorithms.mixed_precision.model_bits import ModelBits
from mmptq.algorithms.mixed_precision.report import report
from mmptq.algorithms.sensitivity import Estimate, second_order
from mmptq.engine import CalibrationContext, Objective, OutputDistance
from mmptq.errors import ConfigError, NumericalError
from mmptq.evaluation import ModelProfile
from mmptq.models import Plan, QConfig
from mmptq.models.specs import check_num_bits
from mmptq.observers import Observer
from mmptq.registry import OBJECTIVES, OBSERVERS, STEPS, build

MMSE = {"type": "LpNormObserver", "p": 2.0}
OBJECTIVE = {"type": "OutputDistance"}
MEASURE = {"type": "TaskLoss"}
STAGE = "mixed_precision"
# Times the float model's training loss: losses of models that find hardly anything differ by how
# they miss. Then only allocations of about the least harm compete: so many times this.
COLLAPSED, COMPARABLE = 2.0, 3.0


@STEPS.register_module()
class MixedPrecision(Step):
    """Chooses bit-widths; the first step of a recipe, the others then work at these.

    What each bit-width of each tensor does to the heads' outputs is estimated from one backward
    pass an image (:mod:`mmptq.algorithms.sensitivity.second_order`). An integer program finds the
    allocations that do least within the budget; since errors at few bits do not simply add up, the
    best few and the best uniform ones are measured, and the best of them is taken. With
    ``max_drop`` it is the other way round: the least cost with which the metric falls no more.

    Fixed is what ``qconfig.overrides`` and the scope's preset say (first and last layers).
    Activations that one layer reads, as the levels of a pyramid, have one bit-width.

    Writes ``mixed_precision.json``, ``.png`` and ``mixed_precision_qconfig.py``, which is the
    ``qconfig`` of what was chosen, into the work dir.

    Args:
        size_mb: Budget in MB as in the results' table, or ``'W4A4'``: what the model takes with
            these bits. Activations cost no bytes: alone it leaves them the most bits.
        gbops: Budget of bit operations, in 10**9 an image, or ``'W4A4'``.
        max_drop: In place of a budget: how much the main metric may be below the float model's, in
            the table's points. It is measured on the test set, whose result is then no longer one
            on unseen images.
        cost: What is to be least with ``max_drop``, ``'gbops'`` or ``'size_mb'``.
        weight_bits: To choose from.
        act_bits: To choose from.
        weight: Observer of the weights' ranges, while bits are chosen.
        act: Of the activations'.
        objective: Distance of the outputs that is estimated, a config of an
            :class:`~mmptq.engine.OutputDistance`.
        measure: By which allocations are compared, a config of a class registered in
            ``OBJECTIVES``. The training loss reads labels and knows which outputs matter;
            ``dict(type='OutputDistance')`` needs none.
        images: Calibration images on which allocations are measured.
        count: Allocations of the program that are measured, three or more.
        evaluations: Of the test set, at most, with ``max_drop``.
        time_limit: Seconds of each integer program.

    Raises:
        ConfigError: An argument is wrong.
    """

    sets_ranges = True
    needs_float_weights = True

    def __init__(
        self,
        size_mb: float | str | None = None,
        gbops: float | str | None = None,
        max_drop: float | None = None,
        cost: str = GBOPS,
        weight_bits: Sequence[float] = (2, 3, 4, 6, 8),
        act_bits: Sequence[float] = (4, 6, 8),
        weight: Mapping[str, Any] = MMSE,
        act: Mapping[str, Any] = MMSE,
        objective: Mapping[str, Any] = OBJECTIVE,
        measure: Mapping[str, Any] = MEASURE,
        images: int = 32,
        count: int = 4,
        evaluations: int = 8,
        time_limit: float = 60.0,
    ) -> None:
        self.budget = Budget(size_mb, gbops)
        self.max_drop = _drop(max_drop, self.budget)
        if cost not in (SIZE, GBOPS):
            raise ConfigError(f"MixedPrecision.cost = {cost!r}: must be {SIZE!r} or {GBOPS!r}")
        self.cost = cost
        self.weight_bits = _choices("weight_bits", weight_bits)
        self.act_bits = _choices("act_bits", act_bits)
        self.weight: Observer = build(OBSERVERS, weight, "MixedPrecision.weight")
        self.act: Observer = build(OBSERVERS, act, "MixedPrecision.act")
        self.objective = dict(objective)
        if not isinstance(self._objective(), OutputDistance):
            raise ConfigError(
                f"MixedPrecision.objective = {objective!r}: must be a distance of the heads' "
                "outputs, 'OutputDistance' or 'LastStageDistance'"
            )
        self.measure = dict(measure)
        self._measure: Objective = build(OBJECTIVES, self.measure, "MixedPrecision.measure")
        for key, value, least in (
            ("images", images, 1),
            ("count", count, 3),
            ("evaluations", evaluations, 2),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"MixedPrecision.{key} = {value!r}: must be a whole number of {least} or more"
                )
        number = isinstance(time_limit, int | float) and not isinstance(time_limit, bool)
        if not number or not 0 < time_limit < math.inf:
            raise ConfigError(f"MixedPrecision.time_limit = {time_limit!r}: must be positive")
        self.images, self.count = images, count
        self.evaluations, self.time_limit = evaluations, time_limit

    @property
    @override
    def reads_loss(self) -> bool:
        return self.max_drop is None and self._measure.reads_loss

    @property
    def reads_labels(self) -> bool:
        """Where what it measures by does."""
        return self.max_drop is None and self._measure.reads_labels

    @property
    @override
    def accuracy_key(self) -> str:
        return "" if self.max_drop is None else "max_drop"

    @override
    def check_model(self, plan: Plan, profile: ModelProfile, qconfig: QConfig) -> None:
        """Whether the budget can be met."""
        self.budget.limits(self._costs(plan, profile, qconfig))

    @override
    def run(self, context: CalibrationContext) -> None:
        """Choose, and set bit-widths and ranges."""
        model, plan, profile = context.model, context.model.plan, context.profile
        assert plan is not None and profile is not None and context.qconfig is not None
        model.forget_bias_corrections()
        costs = self._costs(plan, profile, QConfig.parse(context.qconfig))
        bits = ModelBits.of(context, costs.groups, self.weight, self.act)
        estimates = context.store.once(f"{STAGE}_estimate", lambda: self._estimate(context, bits))
        found = {name: [Estimate(**values) for values in of] for name, of in estimates.items()}
        harms = harms_of(costs.groups, found)
        saved = context.store.once(STAGE, lambda: self._choose(context, costs, bits, harms))
        tried = [Candidate.from_dict(values) for values in saved["tried"]]
        chosen = tried[saved["chosen"]]
        model.set_bits(allocated_plan(plan, costs.groups, chosen.allocation))
        bits.apply(chosen.allocation)
        folder = context.store.folder.parent
        report(folder, costs, harms[DISTANCE], tried, chosen, context.qconfig, plan)

    def _estimate(self, context: CalibrationContext, bits: ModelBits) -> dict[str, Any]:
        """Of each quantizer at each bit-width."""
        found = second_order(context, self._objective(), bits.forms)
        return {name: [asdict(estimate) for estimate in of] for name, of in found.items()}

    def _choose(
        self, context: CalibrationContext, costs: Costs, bits: ModelBits, harms: Mapping[str, Harm]
    ) -> dict[str, Any]:
        """What was tried, and the index of what is best."""
        if self.max_drop is None:
            limits = self.budget.limits(costs)
            tried = candidates(costs, harms, limits, self.count, self.time_limit)
            tried, chosen = self._compared(context, bits, tried, harms[DISTANCE])
        else:
            assert context.accuracy is not None
            reference = context.accuracy.of_float()
            with accuracies(context, bits) as accuracy:
                tried = least_cost(
                    costs,
                    harms[DISTANCE],
                    self.cost,
                    self.max_drop,
                    lambda allocation: reference - accuracy(allocation),
                    self.evaluations,
                    self.time_limit,
                )
                chosen = len(tried) - 1
        return {"tried": [candidate.to_dict() for candidate in tried], "chosen": chosen}

    def _compared(
        self,
        context: CalibrationContext,
        bits: ModelBits,
        tried: Sequence[Candidate],
        harm: Harm,
    ) -> tuple[list[Candidate], int]:
        """With their losses, and which is best.

        Raises:
            NumericalError: No loss is finite.
        """
        with losses(context, bits, self.measure, self.images) as loss:
            reference = loss(FLOAT)
            followed = context.track(tried, "allocations", len(tried))
            found = [replace(c, loss=loss(c.allocation)) for c in followed]
        best = min(range(len(found)), key=lambda i: _loss(found[i]))
        if all(_loss(c) == math.inf for c in found):
            raise NumericalError(
                "MixedPrecision: with no allocation the loss is finite; check the float weights "
                "and the calibration images"
            )
        if self._measure.reads_loss and _loss(found[best]) > COLLAPSED * reference:
            print_log(
                f"MixedPrecision: within this budget the training loss is {_loss(found[best]):.4g} "
                f"at best, the float model's {reference:.4g}: hardly anything may be left of its "
                "accuracy; raise the budget",
                logger="current",
                level=logging.WARNING,
            )
            harms = [total(harm, candidate.allocation) for candidate in found]
            near = [i for i, value in enumerate(harms) if value <= COMPARABLE * min(harms)]
            best = min(near, key=lambda i: _loss(found[i]))
        return found, best

    def _costs(self, plan: Plan, profile: ModelProfile, qconfig: QConfig) -> Costs:
        groups = find_groups(plan, qconfig, self.weight_bits, self.act_bits)
        return Costs.of(groups, profile, plan)

    def _objective(self) -> Any:
        return build(OBJECTIVES, self.objective, "MixedPrecision.objective")


def _loss(candidate: Candidate) -> float:
    """For a comparison; what is not finite is the worst."""
    value = candidate.loss
    return value if value is not None and math.isfinite(value) else math.inf


def _drop(value: float | None, budget: Budget) -> float | None:
    if value is None:
        if not budget:
            raise ConfigError(
                "MixedPrecision: give a budget, size_mb or gbops (such as size_mb='W4A4'), or "
                "max_drop"
            )
        return None
    if budget:
        raise ConfigError(
            "MixedPrecision.max_drop: size_mb and gbops are budgets of another search; give either "
            "a budget or max_drop, and what is to be least with it as cost"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"MixedPrecision.max_drop = {value!r}: must be a number of 0 or more")
    return float(value)


def _choices(key: str, values: Sequence[float]) -> tuple[float, ...]:
    if not isinstance(values, list | tuple) or not values:
        raise ConfigError(f"MixedPrecision.{key} = {values!r}: must be a list of bit-widths")
    found = {check_num_bits(value, f"MixedPrecision.{key}[{i}]") for i, value in enumerate(values)}
    return tuple(sorted(found))
