"""Small models with a calibration context in which bit-widths can be chosen."""

from typing import Any

from mmptq.algorithms.mixed_precision.costs import Costs
from mmptq.algorithms.mixed_precision.groups import find_groups
from mmptq.engine import CalibrationContext
from mmptq.evaluation import profile_model
from mmptq.models import QConfig
from tests.calibration_support import W4A4, MakeContext

SHAPE = (96, 128)
WEIGHT_BITS, ACT_BITS = (2, 4, 8), (4, 8)


def mixed_context(
    make_context: MakeContext,
    name: str = "retinanet",
    qconfig: dict[str, Any] = W4A4,
    **kwargs: Any,
) -> CalibrationContext:
    """With the qconfig and a profile, and without ranges."""
    context = make_context(name, qconfig=qconfig, ranges=False, **kwargs)
    context.qconfig = qconfig
    context.profile = profile_model(context.adapter, SHAPE)
    return context


def costs_of(
    context: CalibrationContext,
    weight: tuple[float, ...] = WEIGHT_BITS,
    act: tuple[float, ...] = ACT_BITS,
) -> Costs:
    plan, profile = context.model.plan, context.profile
    assert plan is not None and profile is not None and context.qconfig is not None
    return Costs.of(find_groups(plan, QConfig.parse(context.qconfig), weight, act), profile, plan)
