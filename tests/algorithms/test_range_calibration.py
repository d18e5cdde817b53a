from pathlib import Path
from typing import Any

import pytest
import torch

from mmptq.adapters import find_adapter
from mmptq.algorithms import RangeCalibration
from mmptq.engine import CalibrationContext, StageStore
from mmptq.errors import ConfigError
from mmptq.models import QConfig
from tests.calibration_support import Images

MMSE = {"type": "LpNormObserver", "p": 2.0}
FAMILIES = ["retinanet", "faster_rcnn"]


@pytest.fixture
def context_of(make_wrapped: Any, tmp_path: Path) -> Any:
    """``context_of(family, num_bits)``: prepared, nothing calibrated yet."""

    def make(family: str, num_bits: int = 4, **qconfig: Any) -> CalibrationContext:
        model = make_wrapped(family)
        adapter = find_adapter(model.model)
        bits = dict(num_bits=num_bits)
        model.prepare(adapter.plan(QConfig.parse(dict(weight=bits, act=bits, **qconfig))))
        store = StageStore(tmp_path / f"{family}{num_bits}", {}, resume=False)
        track = lambda items, name, total=None: iter(items)  # noqa: E731
        return CalibrationContext(model, adapter, Images(2), store, track)

    return make


def weight_error(context: CalibrationContext) -> dict[str, float]:
    layers = dict(context.model.quant_layers())
    with torch.no_grad():
        return {
            name: float((quantizer(layers[name].weight) - layers[name].weight).square().mean())
            for name, quantizer in context.model.weight_quantizers().items()
        }


@pytest.mark.parametrize("family", FAMILIES)
def test_min_max_ranges_are_those_of_the_tensors(family, context_of):
    context = context_of(family, 8)
    RangeCalibration().run(context)
    layers = dict(context.model.quant_layers())
    for name, quantizer in context.model.weight_quantizers().items():
        # Symmetric, one step a channel: 255 steps from -largest to largest.
        largest = layers[name].weight.detach().flatten(1).abs().amax(1)
        torch.testing.assert_close(quantizer.scale.flatten() * 255, 2 * largest)
        assert quantizer.calibrated
        assert quantizer.enabled
    statistics = context.activation_statistics()
    for name, quantizer in context.model.sites.items():
        low, high = statistics[name].low.clamp(max=0), statistics[name].high.clamp(min=0)
        # Affine: 255 steps between the extremes, which include zero.
        torch.testing.assert_close(quantizer.scale.flatten()[0] * 255, high - low)
        assert quantizer.enabled


@pytest.mark.parametrize("family", FAMILIES)
def test_mmse_has_a_smaller_error_than_min_max_at_4_bits(family, context_of):
    context = context_of(family)
    RangeCalibration().run(context)
    min_max = weight_error(context)
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    mmse = weight_error(context)
    assert all(mmse[name] <= min_max[name] * (1 + 1e-6) for name in mmse)
    assert sum(mmse.values()) < 0.95 * sum(min_max.values())


def test_mmse_activations_have_a_smaller_error_on_the_tensors_themselves(context_of):
    """Not on the histogram that the observer saw."""
    context = context_of("retinanet")
    site = next(s for s in context.model.plan.sites if "layer3.1.conv2" in s.name)
    layer = dict(context.model.quant_layers())[site.owner]
    values: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: values.append(args[0].flatten()))
    with torch.no_grad():
        for _, batch in context.data:
            context.model.test_step(batch)
    handle.remove()
    x = torch.cat(values)
    errors = []
    for observer in ({"type": "MinMaxObserver"}, MMSE):
        RangeCalibration(act=observer).run(context)
        errors.append(float((context.model.sites[site.name](x) - x).square().mean()))
    # torch's own quantizer, whose 15 steps reach up to a share of the maximum.
    by_force = min(
        float((torch.fake_quantize_per_tensor_affine(x, high / 15, 0, 0, 15) - x).square().mean())
        for high in (x.max() * torch.linspace(0.05, 1, 200)).tolist()
    )
    assert errors[1] < errors[0]
    assert errors[1] <= 1.02 * by_force


@pytest.mark.parametrize("family", FAMILIES)
def test_same_input_gives_the_same_bits(family, context_of):
    states = []
    for _ in range(2):
        context = context_of(family)
        RangeCalibration(weight=MMSE, act=MMSE).run(context)
        states.append(context.model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


def test_float_layers_stay_float(context_of):
    context = context_of("retinanet", overrides=[dict(pattern="bbox_head.*", weight=None)])
    RangeCalibration().run(context)
    assert not [n for n in context.model.weight_quantizers() if n.startswith("bbox_head")]
    assert [n for n in context.model.sites if n.startswith("bbox_head")]


def test_activations_that_reach_below_zero_only_where_needed_get_a_sign(context_of):
    """Symmetric activations behind a ReLU spend no level on negative values."""
    context = context_of("retinanet", scope="lapq_paper")
    RangeCalibration().run(context)
    statistics = context.activation_statistics()
    for name, quantizer in context.model.sites.items():
        x = torch.tensor([-100.0])
        assert bool(quantizer(x) < 0) == bool(statistics[name].low < 0), name


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(act=dict(type="Nothing")), "RangeCalibration.act.type: no observer is called"),
        (dict(weight=dict(p=2)), "RangeCalibration.weight must be a dict with the key 'type'"),
        (dict(act=dict(type="LpNormObserver", q=2)), "RangeCalibration.act.q: unknown argument"),
    ],
)
def test_bad_observers(cfg, message):
    with pytest.raises(ConfigError, match=message):
        RangeCalibration(**cfg)
