"""Depthwise layers read each channel through a range of its own, in every part of the core."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmptq.adapters import find_adapter
from mmptq.algorithms import BitShrinking, JointSearch, LpInterpolation, QDrop, RangeCalibration
from mmptq.algorithms.lapq.search_space import SearchSpace
from mmptq.engine import CalibrationContext, LossEvaluator, StageStore
from mmptq.errors import CheckpointError
from mmptq.evaluation import model_cost, plan_table, profile_model, render
from mmptq.models import Plan, QConfig, QuantClassifier
from mmptq.observers import ChannelStatistics
from mmptq.quantizers import LearnedStepQuantizer, UniformQuantizer
from tests.calibration_support import MMSE
from tests.transformer_support import PREPROCESSOR, Images, _track

BITS = {"weight": {"num_bits": 8}, "act": {"num_bits": 8}}
PER_TENSOR = {**BITS, "act": {"num_bits": 8, "per_channel": "none"}}
W4A4 = {"weight": {"num_bits": 4}, "act": {"num_bits": 4}}
BY_CHANNEL = {"network.depthwise:0": 8, "network.multiplied:0": 8, "network.up:0": 16}
SIZE = 16

Make = Callable[..., CalibrationContext]


def make_model() -> QuantClassifier:
    return QuantClassifier(
        classifier_type="mmptq.ModuleClassifier",
        module="tests.depthwise_net:make_net",
        image_size=SIZE,
        data_preprocessor=PREPROCESSOR,
    ).eval()


def plan_of(model: QuantClassifier, qconfig: dict[str, Any] = BITS) -> Plan:
    return find_adapter(model.model).plan(QConfig.parse(qconfig))


@pytest.fixture
def make_context(tmp_path: Path) -> Make:
    def make(
        qconfig: dict[str, Any] = BITS, observer: dict[str, Any] = MMSE, folder: str = "a"
    ) -> CalibrationContext:
        model = make_model()
        adapter = find_adapter(model.model)
        model.prepare(adapter.plan(QConfig.parse(qconfig)))
        store = StageStore(tmp_path / folder / "stages", {}, False)
        data: Any = Images(4, SIZE, 2)
        context = CalibrationContext(model, adapter, data, store, _track)
        RangeCalibration(weight=MMSE, act=observer).run(context)
        return context

    return make


def distance(context: CalibrationContext) -> float:
    return LossEvaluator(context, {"type": "OutputDistance"}, incremental=False)()


def state_of(model: QuantClassifier) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


# --- the plan -------------------------------------------------------------------------------------


def test_whose_inputs_have_a_range_a_channel() -> None:
    plan = plan_of(make_model())
    sites = {site.name: site.channels for site in plan.sites}
    readers = {layer.name: layer.inputs for layer in plan.layers}
    assert {name: n for name, n in sites.items() if n is not None} == BY_CHANNEL
    # The one tensor that both read has a quantizer for either.
    assert readers["network.depthwise"] != readers["network.beside"]
    assert Plan.from_tensor(plan.to_tensor()) == plan


def test_none_means_nowhere() -> None:
    plan = plan_of(make_model(), PER_TENSOR)
    assert all(site.channels is None for site in plan.sites)
    inputs = {layer.name: layer.inputs for layer in plan.layers}
    assert inputs["network.depthwise"] == inputs["network.beside"]


def test_an_override_by_name() -> None:
    overrides = [{"pattern": "network.up", "act": {"per_channel": "none"}}]
    plan = plan_of(make_model(), {**BITS, "overrides": overrides})
    found = {site.name for site in plan.sites if site.channels}
    assert found == set(BY_CHANNEL) - {"network.up:0"}


def test_an_override_by_role() -> None:
    overrides = [{"role": "depthwise", "weight": {"num_bits": 7}}]
    plan = plan_of(make_model(), {**BITS, "overrides": overrides})
    bits = {layer.name.rpartition(".")[2]: layer.weight.num_bits for layer in plan.layers}
    assert {name for name, count in bits.items() if count == 7} == {"depthwise", "multiplied", "up"}


def test_cost_by_hand_and_the_table() -> None:
    model = make_model()
    profile = profile_model(find_adapter(model.model), (SIZE, SIZE))
    plan = plan_of(model)
    costs = [model_cost(profile, p) for p in (plan, plan_of(make_model(), PER_TENSOR))]
    # Steps and zero points of 8 + 8 + 16 channels, in place of two tensors': the third shares.
    assert costs[0].packed_bytes - costs[1].packed_bytes == 8 * (8 + 8 + 16 - 2)
    lines = render(plan_table(plan, costs[0]), width=200).splitlines()
    (line,) = [line for line in lines if "network.multiplied" in line]
    assert "8 bit affine per channel" in line.split("per channel", 1)[1]


# --- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "observer",
    ["MinMaxObserver", "PercentileObserver", "KLObserver", "ACIQObserver", "MovingAverageObserver"],
)
def test_every_observer_and_an_exact_reload(make_context: Make, observer: str) -> None:
    context = make_context(observer={"type": observer})
    for name, channels in BY_CHANNEL.items():
        scale = context.model.sites[name].scale
        assert scale.shape == (channels,) and bool((scale > 0).all())
    again = make_model()
    again.load_state_dict(state_of(context.model))
    image = torch.randn(2, 3, SIZE, SIZE)
    assert torch.equal(context.model(image), again(image))


def test_statistics_are_kept_by_channel(make_context: Make) -> None:
    context = make_context()
    stats = context.activation_statistics()["network.depthwise:0"]
    assert isinstance(stats, ChannelStatistics) and stats.num_values == 4 * SIZE * SIZE
    assert float(stats.high.max() / stats.high.min()) > 100
    saved = context.store.load("statistics")["sites"]["network.depthwise:0"]
    assert torch.equal(ChannelStatistics.from_state_dict(saved).high, stats.high)


def test_uneven_channels_lose_less(make_context: Make) -> None:
    errors = []
    for folder, qconfig in (("a", BITS), ("b", PER_TENSOR)):
        context = make_context(qconfig, folder=folder)
        layer = context.model.model.network.depthwise
        written: list[Tensor] = []
        layer.register_forward_hook(lambda *call, into=written: into.append(call[2]))
        for on in (False, True):
            context.model.enable_quantizers(weights=False, activations=on)
            for _, batch in context.data:
                context.model.test_step(batch)
        half = len(written) // 2
        wanted, found = torch.cat(written[:half]), torch.cat(written[half:])
        errors.append(float((found - wanted).var() / wanted.var()))
    assert errors[0] < errors[1] / 10


def test_a_checkpoint_for_a_layer_that_is_not_depthwise(make_context: Make) -> None:
    state = state_of(make_context().model)
    other = make_model()
    other.model.network.depthwise = torch.nn.Conv2d(8, 8, 3, padding=1)
    with pytest.raises(CheckpointError, match=r"'network.depthwise' reads, no depthwise layer"):
        other.load_state_dict(state)


# --- exact in integers ----------------------------------------------------------------------------


def integer_depthwise(
    x: Tensor, read: UniformQuantizer, weight: Tensor, quantizer: UniformQuantizer
) -> Tensor:
    """A depthwise convolution (3x3, padded by 1) of whole numbers alone, scaled at the end."""
    codes = read.quantize(x).numpy().astype(np.int32)
    zero = read.zero_point.numpy().astype(np.int32)[None, :, None, None]
    kernel = quantizer.quantize(weight).numpy().astype(np.int32)
    # A pixel of the padding is zero, whose code is the channel's zero point.
    padded = np.broadcast_to(zero, (*codes.shape[:2], codes.shape[2] + 2, codes.shape[3] + 2))
    padded = padded.copy()
    padded[:, :, 1:-1, 1:-1] = codes
    total = np.zeros(codes.shape, np.int32)
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + codes.shape[2], j : j + codes.shape[3]]
            total += window * kernel[None, :, 0, i, j, None, None]
    # One number a channel: what the zero points add to every sum.
    total -= zero * kernel.sum(axis=(1, 2, 3), dtype=np.int32)[None, :, None, None]
    scale = read.scale.double() * quantizer.scale.double()
    return torch.from_numpy(total).double() * scale[:, None, None]


def test_sums_are_whole_numbers(make_context: Make) -> None:
    """What runs in integers is what the simulation computes, up to its float rounding."""
    context = make_context()
    layer = dict(context.model.quant_layers())["network.depthwise"]
    steps = context.model.sites["network.depthwise:0"].scale
    x = torch.randn(2, 8, 7, 9) * 90 * steps[:, None, None]
    context.model.start_pass()
    simulated = layer(x) - layer.bias[:, None, None]
    read, quantizer = layer.input_quantizers[0], layer.weight_quantizer
    exact = integer_depthwise(x, read, layer.weight.detach(), quantizer)
    size = exact.abs().amax(dim=(0, 2, 3), keepdim=True)
    assert float(((simulated - exact).abs() / size).max()) < 1e-5


def test_against_torchs_own_quantizer(make_context: Make) -> None:
    context = make_context()
    read = context.model.sites["network.depthwise:0"]
    x = torch.randn(2, 8, 5, 5) * 3
    wanted = torch.fake_quantize_per_channel_affine(x, read.scale, read.zero_point, 1, 0, 255)
    torch.testing.assert_close(read(x), wanted, rtol=0, atol=0)


# --- searches and reconstruction ------------------------------------------------------------------


def test_a_search_moves_all_channels_together(make_context: Make) -> None:
    context = make_context(W4A4)
    LpInterpolation(objective={"type": "OutputDistance"}, num_points=3).run(context)
    step = JointSearch(objective={"type": "OutputDistance"}, max_evals=40)
    step.run(context)
    assert step.report is not None and step.report.best < step.report.start
    site = context.model.sites["network.depthwise:0"]
    start, zero = site.scale.clone(), site.zero_point.clone()
    space = SearchSpace(context.model)
    space.apply([1.0] * len(space))
    torch.testing.assert_close(site.scale, start * math.exp(0.1))
    assert torch.equal(site.zero_point, zero)


@pytest.mark.parametrize("step", [QDrop, BitShrinking])
def test_reconstruction_learns_every_channels_step(make_context: Make, step: Any) -> None:
    found = []
    for folder in "ab":
        context = make_context(W4A4, folder=folder)
        before = context.model.sites["network.multiplied:0"].scale.clone()
        torch.manual_seed(0)
        step(preset="fast", iters=60, batch_size=2).run(context)
        ratio = context.model.sites["network.multiplied:0"].scale / before
        assert ratio.unique().numel() > 4  # a channel that is zero everywhere learns nothing
        found.append(state_of(context.model))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_a_gradient_by_hand() -> None:
    """Of a step a channel: inside the rounding error, outside the level (LSQ, eq. 3)."""
    quantizer = UniformQuantizer(4, symmetric=True, ch_axis=-3, num_channels=2)
    quantizer.set_range(torch.tensor([-7.5, -0.75]), torch.tensor([7.5, 0.75]))
    learned = LearnedStepQuantizer(quantizer)
    x = torch.tensor([1.3, -20.0, 0.13, 20.0]).reshape(1, 2, 2, 1)
    learned(x).sum().backward()
    # d/dt of s e^t round(x / s e^t): s (code - x / s) inside, s code outside.
    expected = torch.tensor([(1.0 - 1.3) + -8.0, 0.1 * (1 - 1.3) + 0.1 * 7.0])
    torch.testing.assert_close(learned.log_gain.grad, expected, rtol=1e-4, atol=1e-5)


def test_the_float_form_is_the_float_model(make_context: Make) -> None:
    float_model, context = make_model(), make_context()
    context.model.enable_quantizers(weights=False, activations=False)
    image = torch.randn(1, 3, SIZE, SIZE)
    torch.testing.assert_close(context.model(image), float_model(image), rtol=1e-4, atol=1e-4)
    assert copy.deepcopy(context.model).plan == context.model.plan
