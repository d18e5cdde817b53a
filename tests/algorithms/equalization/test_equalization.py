"""The float model computes the same, and ranges are even."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.algorithms import Equalization, JointSearch, QDrop, RangeCalibration, Step
from mmptq.engine import CalibrationContext, StageStore, float_form, probing
from mmptq.errors import ConfigError, NumericalError
from mmptq.models import QConfig, QuantClassifier
from mmptq.models.trace import flatten_tensors
from mmptq.modules import channels_first, inputs_first
from tests.calibration_support import MMSE, MakeContext, make_context  # noqa: F401
from tests.conftest import randomise

STEPS: dict[str, dict[str, Any]] = {
    "weights": dict(ranges="weights"),
    "activations": dict(ranges="activations"),
    "explicit": dict(explicit=True, alpha=0.75),
}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "cifar_resnet": dict(classifier_type="mmptq.CifarResNet", depth=8, num_classes=3),
    "mobilenetv2": dict(
        classifier_type="mmptq.BackboneClassifier",
        backbone=dict(type="MobileNetV2", widen_factor=0.25, out_indices=(7,)),
        num_classes=5,
        image_size=64,
    ),
    "chain": dict(
        classifier_type="mmptq.ModuleClassifier",
        module=f"{__name__}:Chain",
        image_size=16,
    ),
}


class Chain(nn.Module):
    """Separable convolutions whose channels differ much."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.pointwise = nn.Conv2d(6, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pointwise(self.depthwise(self.stem(x).relu()).relu())
        return self.fc(self.up(x.relu()).sigmoid().mean((2, 3)))


class Images:
    """Random images without labels."""

    def __init__(self, side: int) -> None:
        self.num_images = 4
        self._images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(2))

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return iter([(0, {"inputs": self._images[:2]}), (2, {"inputs": self._images[2:]})])


def classifier(name: str, folder: Path) -> CalibrationContext:
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = QuantClassifier(**CLASSIFIERS[name]).eval()
    randomise(model)
    if name == "chain":
        _spread(model.model.network)
    adapter = find_adapter(model.model)
    model.prepare(adapter.plan(QConfig.parse({})))
    data: Any = Images(adapter.trace_size[0])
    store = StageStore(folder, {}, False)
    return CalibrationContext(model, adapter, data, store, lambda items, *_: iter(items))


@torch.no_grad()
def _spread(chain: Chain) -> None:
    factors = torch.tensor([0.01, 0.1, 1.0, 3.0, 10.0, 0.0])
    chain.stem.weight.mul_(factors.view(-1, 1, 1, 1))
    chain.stem.bias.mul_(factors)


@torch.no_grad()
def float_outputs(context: CalibrationContext) -> list[Tensor]:
    with probing(context.model, context.adapter) as (forward, image):
        return [x.clone() for x in flatten_tensors(forward(image))]


def assert_same(outputs: list[Tensor], wanted: list[Tensor]) -> None:
    for x, y in zip(outputs, wanted, strict=True):
        assert float((x - y).abs().max()) <= 1e-5 * float(y.abs().max())


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_float_detectors_compute_the_same(
    name: str,
    step: str,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context(name)
    before, weights = float_outputs(context), list(map(Tensor.clone, context.model.parameters()))
    Equalization(**STEPS[step]).run(context)
    assert_same(float_outputs(context), before)
    changed = [
        not torch.equal(a, b) for a, b in zip(context.model.parameters(), weights, strict=True)
    ]
    assert sum(changed) > 10
    quantizers = [*context.model.sites.values(), *context.model.weight_quantizers().values()]
    assert not any(q.calibrated or q.enabled for q in quantizers)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_float_classifiers_compute_the_same(name: str, step: str, tmp_path: Path) -> None:
    context = classifier(name, tmp_path)
    before = float_outputs(context)
    Equalization(**STEPS[step]).run(context)
    assert_same(float_outputs(context), before)


def ranges(context: CalibrationContext, before: str, after: str) -> tuple[Tensor, Tensor]:
    layers: dict[str, Any] = dict(context.model.quant_layers())
    a, b = layers[f"network.{before}"], layers[f"network.{after}"]
    rows, columns = channels_first(a, a.weight), inputs_first(b, b.weight)
    return rows.detach().flatten(1).abs().amax(1), columns.detach().flatten(1).abs().amax(1)


def test_weights_become_even_along_a_chain(tmp_path: Path) -> None:
    """At the fixed point each channel has one range on both sides of every link."""
    context = classifier("chain", tmp_path)
    links = [("stem", "depthwise"), ("depthwise", "pointwise"), ("pointwise", "up")]
    assert context.model.plan is not None
    assert context.model.plan.links == tuple((f"network.{a}", f"network.{b}") for a, b in links)
    dead = ranges(context, "stem", "depthwise")[1][5].clone()
    Equalization(ranges="weights", max_iters=100, tolerance=1e-6).run(context)
    for link in links:
        a, b = ranges(context, *link)
        alive = slice(0, 5) if link[0] == "stem" else slice(None)
        torch.testing.assert_close(a[alive], b[alive], rtol=1e-3, atol=0.0)
    # Nothing moves into the dead channel of the stem.
    a, b = ranges(context, "stem", "depthwise")
    assert float(a[5]) == 0.0 and float(dead) > 0.0


def seen(context: CalibrationContext, name: str) -> Tensor:
    """Range of each channel that a layer reads, over the calibration images."""
    layer: Any = dict(context.model.quant_layers())[name]
    found = []
    handle = layer.register_forward_pre_hook(lambda _, args: found.append(args[0].abs()))
    with float_form(context.model), torch.no_grad():
        for _, batch in context.data:
            context.model.test_step(batch)
    handle.remove()
    return torch.cat(found).transpose(0, 1).flatten(1).amax(1)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_activations_by_hand(alpha: float, tmp_path: Path) -> None:
    context = classifier("chain", tmp_path)
    a = seen(context, "network.depthwise")
    b = ranges(context, "stem", "depthwise")[1]
    Equalization(alpha=alpha).run(context)
    wanted = a ** (1 - alpha) * b ** (1 - alpha)
    torch.testing.assert_close(
        seen(context, "network.depthwise")[:5], wanted[:5], rtol=1e-4, atol=0.0
    )


def test_an_explicit_factor_evens_out_what_the_quantizer_reads(tmp_path: Path) -> None:
    context = classifier("chain", tmp_path)
    a = seen(context, "network.stem")
    Equalization(explicit=True, alpha=1.0).run(context)
    layer = dict(context.model.quant_layers())["network.stem"]
    torch.testing.assert_close(layer.input_factor, a)
    context.collect_again("again")
    statistics = context.activation_statistics()["network.stem:0"]
    torch.testing.assert_close(torch.maximum(-statistics.low, statistics.high), torch.tensor(1.0))


def test_where_activations_stay_float_weights_are_left_alone(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", qconfig={"act": None}, ranges=False)
    weights = list(map(Tensor.clone, context.model.parameters()))
    Equalization(explicit=True).run(context)
    assert all(map(torch.equal, context.model.parameters(), weights))


def quantized_outputs(context: CalibrationContext) -> list[Tensor]:
    context.model.start_pass()
    with torch.no_grad():
        return list(flatten_tensors(context.adapter.raw_outputs(context.adapter.trace_image())))


def test_reloads_to_the_same_bits(tmp_path: Path, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    Equalization(explicit=True).run(context)
    context.collect_again("again")
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    torch.save(context.model.state_dict(), tmp_path / "quantized.pth")
    fresh = make_context("retinanet", folder="b", ranges=False)
    fresh.model.load_state_dict(torch.load(tmp_path / "quantized.pth", weights_only=True))
    pairs = zip(quantized_outputs(context), quantized_outputs(fresh), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "step", [JointSearch(max_evals=40), QDrop(preset="fast", iters=3, batch_size=1)]
)
def test_later_steps_see_the_division(step: Step, make_context: MakeContext) -> None:  # noqa: F811
    """An incremental pass is compared with a full one; a unit's float output with the model's."""
    context = make_context("retinanet")
    Equalization(explicit=True).run(context)
    context.collect_again("again")
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    before, start = float_outputs(context), quantized_outputs(context)
    step.run(context)
    if isinstance(step, JointSearch):
        assert_same(float_outputs(context), before)
    assert not all(map(torch.equal, quantized_outputs(context), start))


def test_a_model_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    context = classifier("chain", tmp_path)
    layer: Any = dict(context.model.quant_layers())["network.depthwise"]
    # Somebody reads the weight in a way that no trace shows.
    layer.register_forward_hook(lambda m, args, y: y + m.weight.abs().max())
    with pytest.raises(NumericalError, match="take it out of calib_cfg.steps"):
        Equalization().run(context)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(ranges="outputs"),
        dict(alpha=1.5),
        dict(alpha=True),
        dict(explicit=1),
        dict(max_iters=0),
        dict(max_iters=2.5),
        dict(tolerance=0.0),
    ],
)
def test_arguments_that_cannot_work(arguments: dict[str, Any]) -> None:
    (key,) = arguments
    with pytest.raises(ConfigError, match=rf"Equalization\.{key}"):
        Equalization(**arguments)
