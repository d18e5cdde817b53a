"""What a point means: steps, groups, bounds, and an exact zero."""

import math

import pytest
import torch

from mmptq.algorithms.lapq.search_space import SearchSpace, unit_of
from mmptq.errors import ConfigError
from tests.calibration_support import MakeContext, make_context  # noqa: F401


def test_one_variable_for_each_quantizer_in_forward_order(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("faster_rcnn", images=1)
    space = SearchSpace(context.model)
    quantizers = [q for v in space.variables for q in v.quantizers]
    everything = [*context.model.weight_quantizers().values(), *context.model.sites.values()]
    assert len(quantizers) == len(set(quantizers)) == len(everything)
    assert set(quantizers) == set(everything)
    weights = [v.name for v in space.variables if v.name.endswith(".weight")]
    assert weights == [f"{layer.name}.weight" for layer in context.model.plan.layers]


def test_units_share_one_variable_a_kind(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    tensors, units = SearchSpace(context.model), SearchSpace(context.model, group="unit")
    assert len(units) < len(tensors) / 2
    assert sum(len(v.quantizers) for v in units.variables) == len(tensors)
    names = {v.name for v in units.variables}
    assert {"backbone.layer2.0.weight", "backbone.layer2.0.act", "bbox_head.cls_convs.act"} <= names


@pytest.mark.parametrize(
    ("layer", "unit"),
    [
        ("backbone.conv1", "backbone.conv1"),
        ("backbone.layer1.0.conv2", "backbone.layer1.0"),
        ("backbone.layer1.0.downsample.0", "backbone.layer1.0"),
        ("neck.lateral_convs.0.conv", "neck.lateral_convs"),
        ("bbox_head.cls_convs.1.conv:3", "bbox_head.cls_convs"),
        ("roi_head.bbox_head.fc_cls", "roi_head.bbox_head"),
    ],
)
def test_unit_of(layer: str, unit: str) -> None:
    assert unit_of(layer) == unit


def test_multipliers(make_context: MakeContext) -> None:  # noqa: F811
    model = make_context("retinanet", images=1).model
    space = SearchSpace(model, scale="log", bounds=(0.5, 2.0))
    n = len(space)
    assert space.multipliers([0.0, 1.0, -1.0, 99.0, -99.0]) == pytest.approx(
        [1.0, math.exp(0.1), math.exp(-0.1), 2.0, 0.5]
    )
    linear = SearchSpace(model, scale="linear", bounds=(0.5, 2.0))
    assert linear.multipliers([0.0, 1.0, -99.0]) == pytest.approx([1.0, 1.1, 0.5])
    start = [q.scale.clone() for v in space.variables for q in v.quantizers]
    space.apply([2.0] * n)
    for before, q in zip(start, (q for v in space.variables for q in v.quantizers), strict=True):
        assert torch.equal(q.scale, before * math.exp(0.2))
    space.apply([0.0] * n)
    now = [q.scale for v in space.variables for q in v.quantizers]
    assert all(torch.equal(a, b) for a, b in zip(start, now, strict=True))


def test_points_lie_on_a_grid_within_bounds(make_context: MakeContext) -> None:  # noqa: F811
    space = SearchSpace(make_context("retinanet", images=1).model, bounds=(0.5, 2.0))
    rounded = space.rounded([0.04, -0.04, 0.26, 1e9])
    assert rounded[:3] == pytest.approx((0.0, 0.0, 0.3))
    assert str(rounded[1]) == "0.0"  # not -0.0, which would be another key of the log
    assert rounded[3] == pytest.approx(math.log(2.0) / 0.1, abs=0.06)
    assert space.rounded(rounded) == rounded


def test_zero_stays_an_exact_level(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("faster_rcnn", images=1)
    space = SearchSpace(context.model)
    generator = torch.Generator().manual_seed(0)
    space.apply(space.rounded((torch.randn(len(space), generator=generator) * 3.0).tolist()))
    zero = torch.zeros(64, 4)
    for variable in space.variables:
        for quantizer in variable.quantizers:
            x = zero if quantizer.ch_axis is None else torch.zeros(len(quantizer.scale), 4)
            assert not bool(quantizer(x).any()), variable.name


def test_needs_ranges(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1, ranges=False)
    with pytest.raises(ConfigError, match=r"backbone.conv1.*RangeCalibration"):
        SearchSpace(context.model)
