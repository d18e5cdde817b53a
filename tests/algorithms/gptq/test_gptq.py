"""GPTQ as a step: outputs come nearer, weights lie on their grid, the checkpoint says it all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.algorithms import GPTQ, BiasCorrection
from mmptq.algorithms.gptq.gptq import set_weighted_range
from mmptq.engine import CalibrationContext, LossEvaluator, float_form
from mmptq.errors import ConfigError, NumericalError
from mmptq.models.trace import flatten_tensors
from mmptq.quantizers import UniformQuantizer
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.process_support import Tool, load, same, two_processes
from tests.tiny_project import TinyProject
from tests.transformer_support import MODELS, MakeTransformer, make_transformer  # noqa: F401

DISTANCE = {"type": "OutputDistance"}


def state(context: CalibrationContext) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in context.model.state_dict().items()}


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_outputs_are_nearer_to_the_float_ones(name: str, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context(name, images=4)
    evaluator = LossEvaluator(context, DISTANCE)
    before = evaluator()
    GPTQ().run(context)
    assert evaluator() < 0.6 * before


def test_matching_is_what_makes_up_for_the_layers_before(make_context: MakeContext) -> None:  # noqa: F811
    distances = []
    for folder, match in (("a", True), ("b", False)):
        context = make_context("retinanet", images=4, folder=folder)
        evaluator = LossEvaluator(context, DISTANCE)
        GPTQ(match=match).run(context)
        distances.append(evaluator())
    assert distances[0] < distances[1]


def test_weights_are_on_their_grid(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    GPTQ().run(context)
    for name, layer in context.model.quant_layers():
        assert layer.weight_quantizer is not None
        assert torch.equal(layer.weight_quantizer(layer.weight), layer.weight), name


def test_the_float_form_stays_the_float_model(
    make_context: MakeContext,  # noqa: F811
    raw: Any,
    image: Tensor,
) -> None:
    context = make_context("retinanet")
    with float_form(context.model):
        before = raw(context.model, image)
    GPTQ().run(context)
    with float_form(context.model):
        after = raw(context.model, image)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any("float" in key for key in context.model.state_dict())


def test_the_checkpoint_reloads_to_the_same_bits(
    tmp_path: Path,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet")
    GPTQ().run(context)
    torch.save(context.model.state_dict(), tmp_path / "quantized.pth")
    fresh = make_context("retinanet", folder="b", ranges=False)
    fresh.model.load_state_dict(torch.load(tmp_path / "quantized.pth", weights_only=True))
    image = context.adapter.trace_image()
    outputs = []
    with torch.no_grad():
        for c in (context, fresh):
            c.model.start_pass()
            outputs.append(list(flatten_tensors(c.adapter.raw_outputs(image))))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_the_same_twice_and_whatever_the_memory(make_context: MakeContext) -> None:  # noqa: F811
    states = []
    for folder, cache_gb in zip("abc", (2.0, 2.0, 1e-6), strict=True):
        context = make_context("retinanet", folder=folder)
        GPTQ(cache_gb=cache_gb).run(context)
        states.append(state(context))
    for other in states[1:]:
        assert all(torch.equal(value, other[key]) for key, value in states[0].items())


def test_without_ranges_and_biases_only_weights_change(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    before = state(context)
    GPTQ(ranges=False, bias=False).run(context)
    changed = {k for k, v in state(context).items() if not torch.equal(v, before[k])}
    layers = {f"{name}.weight" for name, _ in context.model.quant_layers()}
    assert changed and {key.removeprefix("detector.") for key in changed} <= layers


def test_earlier_corrections_are_taken_back(make_context: MakeContext) -> None:  # noqa: F811
    plain, corrected = make_context("retinanet"), make_context("retinanet", folder="b")
    BiasCorrection().run(corrected)
    BiasCorrection(mode="measured").run(corrected)
    for context in (plain, corrected):
        GPTQ().run(context)
    a, b = state(plain), state(corrected)
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


ODD = dict(
    classifier_type="mmptq.ModuleClassifier", module="tests.odd_layers:OddLayers", image_size=16
)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("name", ["vit", "swin", "odd"])
def test_other_layers(
    name: str,
    batch_size: int,
    make_transformer: MakeTransformer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Attention's operands and projections, transposed and deformable convolutions."""
    monkeypatch.setitem(MODELS, "odd", ODD)
    context = make_transformer(name, batch_size=batch_size)
    before = state(context)
    GPTQ().run(context)
    after = state(context)
    layers = dict(context.model.quant_layers())
    for key, layer in layers.items():
        weight = next((k for k in after if k.endswith(f"{key}.weight")), None)
        if weight is not None and isinstance(layer, nn.ConvTranspose2d):
            assert torch.equal(before[weight], after[weight])
    assert any(not torch.equal(before[k], v) for k, v in after.items() if k in before)


def test_weighted_range_counts_what_errors_cost() -> None:
    values = torch.tensor([[0.1, 0.22, 0.31, 4.0], [0.1, 0.22, 0.31, 4.0]], dtype=torch.float64)
    costs = torch.ones_like(values)
    costs[1, :3] = 1e6
    quantizer = UniformQuantizer(3.0, ch_axis=0, num_channels=2)
    set_weighted_range(quantizer, values, costs)
    error = (quantizer(values.float()) - values).abs()
    assert float(error[0, 3]) < 0.3 and float(error[1, 3]) > 1.0
    assert float(error[1, :3].max()) < float(error[0, :3].max())


def test_one_range_for_all_channels_stays(make_context: MakeContext) -> None:  # noqa: F811
    qconfig = {"weight": {"num_bits": 4, "per_channel": False}, "act": {"num_bits": 8}}
    context = make_context("retinanet", qconfig=qconfig)
    scales = [q.scale.clone() for q in context.model.weight_quantizers().values()]
    evaluator = LossEvaluator(context, DISTANCE)
    before = evaluator()
    GPTQ().run(context)
    quantizers = context.model.weight_quantizers().values()
    assert all(torch.equal(q.scale, s) for q, s in zip(quantizers, scales, strict=True))
    assert evaluator() < before


def test_needs_ranges(make_context: MakeContext) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="GPTQ starts from ranges, .* put RangeCalibration"):
        GPTQ().run(make_context("retinanet", ranges=False))


def test_inputs_that_overflow_are_named(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    layers = dict(context.model.quant_layers())
    with torch.no_grad():
        layers["backbone.conv1"].weight.fill_(3e38)
    with pytest.raises(NumericalError, match=r"backbone\.conv1: .* overflow"):
        GPTQ().run(context)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(positions=0), "positions = 0: must be a whole number from 1"),
        (dict(max_inputs=2.5), "max_inputs = 2.5"),
        (dict(damp=0), "damp = 0: must be a number above 0"),
        (dict(damp=True), "damp = True"),
        (dict(match=None), "match = None: must be True or False"),
        (dict(cache_gb=-1.0), r"cache_gb = -1\.0"),
        (dict(ranges=1), "ranges = 1: must be True or False"),
        (dict(bias="no"), "bias = 'no'"),
    ],
)
def test_refuses_what_cannot_work(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GPTQ(**arguments)


RECIPE = """
custom_imports = dict(imports=["keep_state"])
calib_cfg = dict(
    method="gptq",
    num_images=5,
    baseline=False,
    eval_float=False,
    steps=[
        dict(type="RangeCalibration"),
        dict(type="GPTQ", positions=50),
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
