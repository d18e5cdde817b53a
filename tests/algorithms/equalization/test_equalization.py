"""The float model computes the same, ranges are even, and a resumed run ends in the same bits."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.algorithms import Equalization, RangeCalibration
from mmptq.engine import CalibrationContext, StageStore, float_form, probing
from mmptq.errors import ConfigError, NumericalError
from mmptq.models import QConfig, QuantClassifier
from mmptq.models.trace import flatten_tensors
from mmptq.modules import channels_first, inputs_first
from mmptq.observers import TensorStatistics
from mmptq.runner import CalibrationRunner
from tests.calibration_support import MMSE, MakeContext, make_context  # noqa: F401
from tests.conftest import randomise
from tests.tiny_project import TinyProject

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
    return rows.flatten(1).abs().amax(1), columns.flatten(1).abs().amax(1)


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
    assert float(a[5]) == 0.0 and float(dead.detach()) > 0.0


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


RECIPE = [
    dict(type="Equalization", explicit=True),
    dict(type="RangeCalibration", weight=MMSE, act=MMSE),
    dict(type="BiasCorrection"),
]


class KilledError(Exception):
    """In place of a signal."""


@pytest.mark.parametrize("survives", ["step_00_Equalization", "step_01_RangeCalibration"])
def test_resumed_it_ends_in_the_same_bits(
    survives: str,
    tiny_project: Callable[[str], TinyProject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(folder: str, **changes: Any) -> CalibrationRunner:
        cfg = tiny_project("retinanet").load(tmp_path / folder, **changes)
        cfg.calib_cfg.steps, cfg.calib_cfg.eval_float = RECIPE, False
        cfg.calib_cfg.baseline = False
        cfg.experiment_name = cfg.visualizer.name = f"{folder}_{survives}_{len(changes)}"
        runner = CalibrationRunner.from_cfg(cfg)
        runner.calibrate()
        return runner

    whole = run("whole")
    save = StageStore.save

    def dying(self: StageStore, stage: str, content: Any) -> None:
        save(self, stage, content)
        if stage == survives:
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(StageStore, "save", dying)
        run("killed")
    resumed = run("killed", resume=True)
    states = [runner.model.state_dict() for runner in (whole, resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    # The ranges are those of the equalized activations.
    highs = []
    for stage in ("statistics", "statistics_00"):
        saved = torch.load(tmp_path / f"whole/stages/{stage}.pth", weights_only=True)
        state = saved["sites"]["backbone.layer1.0.conv2:0"]
        highs.append(TensorStatistics.from_state_dict(state).high)
    assert not torch.equal(*highs)
