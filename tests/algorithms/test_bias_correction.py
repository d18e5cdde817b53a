"""Bias correction: exact channel means, and the same bits after a reload."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmptq import ops
from mmptq.algorithms import GPTQ, BiasCorrection, JointSearch, RangeCalibration
from mmptq.engine import CalibrationContext, LossEvaluator
from mmptq.engine.incremental.probing import float_form
from mmptq.errors import ConfigError, NumericalError
from mmptq.models.trace import flatten_tensors
from mmptq.modules import PackedLinear, QuantLayer, QuantOperand, out_channels
from mmptq.runner import CalibrationRunner
from tests.calibration_support import MMSE, W4A4, MakeContext, make_context  # noqa: F401
from tests.process_support import Tool, load, same, two_processes
from tests.tiny_project import TinyProject
from tests.transformer_support import MODELS, MakeTransformer, make_transformer  # noqa: F401


def moments(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows = weight.detach().double().flatten(1)
    return rows.mean(1), rows.std(1)


@pytest.mark.parametrize("norm", [False, True])
def test_restores_the_means_of_all_channels(norm: bool, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("faster_rcnn", images=1)
    before = {n: m.quantized_weight().clone() for n, m in context.model.quant_layers()}
    with torch.no_grad():
        BiasCorrection(norm=norm).run(context)
        for name, layer in context.model.quant_layers():
            mean, std = moments(layer.quantized_weight())
            float_mean, float_std = moments(layer.weight)
            old_mean, old_std = moments(before[name])
            scale = float(layer.weight.abs().max())
            assert torch.allclose(mean, float_mean, rtol=0.0, atol=scale * 1e-7), name
            assert torch.allclose(std, float_std if norm else old_std, rtol=1e-5), name
            assert not torch.allclose(old_mean, float_mean, rtol=0.0, atol=scale * 1e-5), name


def test_hand_computed_channel() -> None:
    weight = torch.tensor([[1.0, 2.0, 6.0]])
    quantized = torch.tensor([[0.0, 2.0, 4.0]])  # mean 2, the float one 3
    assert torch.equal(
        ops.correct_weight(quantized, weight, "mean"), torch.tensor([[1.0, 3.0, 5.0]])
    )
    # Squared norms around the means: 14 and 8.
    expected = torch.tensor([[-2.0, 0.0, 2.0]]) * (14 / 8) ** 0.5 + 3.0
    assert torch.allclose(ops.correct_weight(quantized, weight, "mean_norm"), expected)


def test_constant_channel_is_only_shifted() -> None:
    weight = torch.tensor([[[0.1, 0.2]], [[0.0, 0.0]]])
    corrected = ops.correct_weight(torch.zeros(2, 1, 2), weight, "mean_norm")
    assert torch.allclose(corrected, torch.tensor([[[0.15, 0.15]], [[0.0, 0.0]]]))


STEPS = [dict(), dict(norm=True), dict(mode="measured")]


@pytest.mark.parametrize("step", STEPS)
def test_reloads_to_the_same_bits(
    step: dict[str, Any],
    tmp_path: Path,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet", images=1)
    BiasCorrection(**step).run(context)
    path = tmp_path / "quantized.pth"
    torch.save(context.model.state_dict(), path)
    fresh = make_context("retinanet", images=1, folder="b", ranges=False)
    fresh.model.load_state_dict(torch.load(path, weights_only=True))
    image = context.adapter.trace_image()
    outputs = []
    with torch.no_grad():
        for c in (context, fresh):
            c.model.start_pass()
            outputs.append(list(flatten_tensors(c.adapter.raw_outputs(image))))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    # And a state without a correction takes it away.
    layer = next(layer for _, layer in fresh.model.quant_layers())
    state = {k: v for k, v in layer.state_dict().items() if not k.endswith("_correction")}
    assert len(state) < len(layer.state_dict())
    layer.load_state_dict(state)
    assert layer.state_dict().keys() == state.keys()


def test_gradients_reach_the_weight(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    BiasCorrection(norm=True).run(context)
    _, layer = list(context.model.quant_layers())[3]
    layer.weight.requires_grad_()
    layer.quantized_weight().square().sum().backward()
    assert bool(layer.weight.grad.isfinite().all())
    assert float(layer.weight.grad.abs().sum()) > 0.0


def test_is_active_during_a_search_and_may_come_first(make_context: MakeContext) -> None:  # noqa: F811
    first = make_context("retinanet", images=1, ranges=False)
    BiasCorrection().run(first)
    RangeCalibration(weight=MMSE, act=MMSE).run(first)
    after = make_context("retinanet", images=1, folder="b")
    BiasCorrection().run(after)
    for context in (first, after):
        JointSearch(max_evals=5).run(context)
    weights = [
        [layer.quantized_weight() for _, layer in c.model.quant_layers()] for c in (first, after)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(norm="yes"), "norm = 'yes'"),
        (dict(mode="mean"), "mode = 'mean': must be one of weights, measured"),
        (dict(mode="measured", norm=True), "norm = True: a measured correction is of the mean"),
        (dict(mode="measured", cache_gb=0), "cache_gb = 0"),
    ],
)
def test_refuses_what_cannot_work(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BiasCorrection(**arguments)


# --- mode="measured" ----------------------------------------------------------------------------


class Sums:
    """Sums of a layer's output channels, of their squares, and how many rows there were."""

    def __init__(self, layer: QuantLayer) -> None:
        self.sums = torch.zeros(3, out_channels(layer), dtype=torch.float64)
        self.listens = True

    def __call__(self, layer: QuantLayer, args: Any, kwargs: Any, y: Tensor) -> None:
        axis = -1 if isinstance(layer, nn.Linear) else 1
        rows = y.movedim(axis, -1).flatten(0, -2).double()
        packed = isinstance(layer, PackedLinear)
        part = layer.features(*args[1:], **kwargs) if packed else slice(None)
        if self.listens:
            found = rows.sum(0), rows.square().sum(0), torch.full((rows.shape[1],), len(rows))
            self.sums[:, part] += torch.stack(found)


@contextmanager
def listening(sums: Iterable[Sums], listens: bool) -> Iterator[None]:
    for one in sums:
        one.listens = listens
    yield
    for one in sums:
        one.listens = not listens


def listen(layer: QuantLayer, sums: Sums) -> Any:
    """Hand what ``layer`` computes to ``sums``, in front of a quantizer of its output."""
    if layer.output is None:
        return layer.register_forward_hook(sums, with_kwargs=True)
    return layer.output.register_forward_pre_hook(lambda _, args: sums(layer, (), {}, args[0]))


@torch.no_grad()
def channel_means(context: CalibrationContext) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean output of each layer, and mean of the squares, over whole passes of all images."""
    model, adapter = context.model, context.adapter
    layers = {n: m for n, m in model.quant_layers() if not isinstance(m, QuantOperand)}
    found = {name: Sums(layer) for name, layer in layers.items()}
    handles = [listen(layers[n], s) for n, s in found.items()]
    for _, batch in context.data:
        batch = adapter.preprocess(batch, False)
        model.start_pass()
        with float_form(model), listening(found.values(), False):
            frozen = adapter.freeze(batch["inputs"], batch["data_samples"], False)
        model.start_pass()
        adapter.head_outputs(batch["inputs"], frozen)
    for handle in handles:
        handle.remove()
    return {n: (s.sums[0] / s.sums[2], s.sums[1] / s.sums[2]) for n, s in found.items()}


def check_means(context: CalibrationContext, far: float) -> None:
    """All layers have their float means behind the step, and some had not before it."""
    with float_form(context.model):
        expected = channel_means(context)
    before = channel_means(context)
    BiasCorrection(mode="measured").run(context)
    after = channel_means(context)
    worst = 0.0
    for name, (mean, square) in expected.items():
        size = square.sqrt().max()
        assert float((after[name][0] - mean).abs().max() / size) < 1e-5, name
        worst = max(worst, float((before[name][0] - mean).abs().max() / size))
    assert worst > far
    with float_form(context.model):  # the float form is the float model
        for name, found in channel_means(context).items():
            assert torch.equal(found[0], expected[name][0])


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_measured_every_layer_has_its_float_mean(name: str, make_context: MakeContext) -> None:  # noqa: F811
    """Convolutions with and without a bias, a head shared by levels, heads of regions."""
    check_means(make_context(name), 0.1)


def test_measured_behind_rounded_weights(make_context: MakeContext) -> None:  # noqa: F811
    """The means of the float model, whose weights GPTQ has replaced."""
    context = make_context("retinanet")
    GPTQ(bias=False).run(context)
    check_means(context, 0.05)


def test_measured_with_quantized_outputs(make_context: MakeContext) -> None:  # noqa: F811
    target = dict(type="openvino", quantize_outputs=True)  # which rounds no biases
    check_means(make_context("retinanet", qconfig={**W4A4, "target": target}), 0.1)


ODD = dict(
    classifier_type="mmptq.ModuleClassifier", module="tests.odd_layers:OddLayers", image_size=16
)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("name", ["vit", "swin", "pvt", "odd"])
def test_measured_other_layers(
    name: str,
    batch_size: int,
    make_transformer: MakeTransformer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Packed projections, transposed and deformable convolutions; a smaller last batch."""
    monkeypatch.setitem(MODELS, "odd", ODD)
    check_means(make_transformer(name, batch_size=batch_size), 0.01)


class TwoLayers(nn.Module):
    """A convolution without a bias, and a linear layer with one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images).relu().mean((2, 3)))


@torch.no_grad()
def test_measured_by_hand(
    make_transformer: MakeTransformer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = f"{__name__}:TwoLayers"
    two = dict(classifier_type="mmptq.ModuleClassifier", module=module, image_size=8)
    monkeypatch.setitem(MODELS, "two", two)
    context = make_transformer("two")
    (_, conv), (_, fc) = context.model.quant_layers()
    BiasCorrection(mode="measured").run(context)

    def numpy(tensor: Tensor) -> np.ndarray:
        return tensor.detach().double().numpy()

    images = (context.data.pixels - 127.5) / 64.0
    read = numpy(conv._readers[0](images))
    float_out = np.einsum("oi,nihw->nohw", numpy(conv.weight)[..., 0, 0], numpy(images))
    out = np.einsum("oi,nihw->nohw", numpy(conv.quantized_weight())[..., 0, 0], read)
    lack = (float_out - out).mean((0, 2, 3))
    assert np.abs(lack).max() > 1e-4
    np.testing.assert_allclose(numpy(conv.bias_correction), lack, atol=1e-6, rtol=1e-3)
    out += lack[:, None, None]
    float_pooled, pooled = (np.maximum(x, 0.0).mean((2, 3)) for x in (float_out, out))
    read = numpy(fc._readers[0](torch.from_numpy(pooled).float()))
    lack = (float_pooled @ numpy(fc.weight).T - read @ numpy(fc.quantized_weight()).T).mean(0)
    np.testing.assert_allclose(numpy(fc.bias_correction), lack, atol=1e-6, rtol=1e-3)


def corrections(context: CalibrationContext) -> list[Tensor]:
    found = (layer.bias_correction for _, layer in context.model.quant_layers())
    return [correction for correction in found if correction is not None]


def test_measured_again_starts_anew(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    step = BiasCorrection(mode="measured")
    step.run(context)
    first = [correction.clone() for correction in corrections(context)]
    step.run(context)
    assert first and all(map(torch.equal, first, corrections(context)))


def test_new_ranges_take_a_measured_correction_away(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    before = {key: value.clone() for key, value in context.model.state_dict().items()}
    BiasCorrection(mode="measured").run(context)
    assert context.model.state_dict().keys() != before.keys()
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    after = context.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_measured_within_no_memory(make_context: MakeContext) -> None:  # noqa: F811
    contexts = [make_context("retinanet", folder=folder) for folder in "ab"]
    for context, cache_gb in zip(contexts, (2.0, 1e-6), strict=True):
        BiasCorrection(mode="measured", cache_gb=cache_gb).run(context)
    assert all(map(torch.equal, *map(corrections, contexts)))


def test_the_incremental_evaluation_sees_a_measured_correction(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    distance = {"type": "OutputDistance"}
    incremental = LossEvaluator(context, distance)
    before = incremental()
    BiasCorrection(mode="measured").run(context)
    after = incremental()
    assert after != before
    assert after == LossEvaluator(context, distance, incremental=False)()


def test_measured_without_ranges(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", ranges=False)
    with pytest.raises(ConfigError, match="starts from ranges, .* put RangeCalibration before it"):
        BiasCorrection(mode="measured").run(context)


def test_outputs_that_overflow_are_named(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    layers = dict(context.model.quant_layers())
    with torch.no_grad():
        layers["backbone.conv1"].weight.fill_(3e38)
    with pytest.raises(NumericalError, match=r"backbone\.conv1: .* overflow"):
        BiasCorrection(mode="measured").run(context)


RECIPE = """
custom_imports = dict(imports=["keep_state"])
calib_cfg = dict(
    method="bias",
    num_images=5,
    baseline=False,
    eval_float=False,
    steps=[
        dict(type="RangeCalibration"),
        dict(type="BiasCorrection", mode="measured"),
        dict(type="KeepState", name="after"),
    ],
)
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    tool = Tool(tmp_path, tiny_project("retinanet").config, RECIPE)
    tool.run(tmp_path / "one")
    tool.run(tmp_path / "two", "--launcher", "pytorch", launcher=two_processes())
    one = load(tmp_path / "one/after0.pth")
    assert any(key.endswith("bias_correction") for key in one)
    for rank in (0, 1):
        assert same(one, load(tmp_path / f"two/after{rank}.pth"))


def test_measured_is_kept_on_resume(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    """Killed behind the step, before the evaluation: the model comes from the stage."""
    steps = [dict(type="RangeCalibration"), dict(type="BiasCorrection", mode="measured")]
    changes = {"calib_cfg.steps": steps, "calib_cfg.baseline": False, "calib_cfg.num_images": 2}
    rows = []
    for resume in (False, True):
        cfg = tiny_project("retinanet").load(tmp_path, **changes, resume=resume)
        cfg.experiment_name = cfg.visualizer.name = f"bias_{resume}"
        if resume:
            (tmp_path / "stages/metrics_recipe.pth").unlink()
        runner = CalibrationRunner.from_cfg(cfg)
        rows.append(runner.calibrate().rows[-1].metrics)
        states = [layer.bias_correction for _, layer in runner.model.quant_layers()]
        assert None not in states
    assert rows[0] == rows[1]
