"""The wrapper: folding, swapping, and every way a checkpoint can come to it."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.runner.checkpoint import get_state_dict, load_checkpoint, save_checkpoint
from mmengine.runner.checkpoint import load_state_dict as mmengine_load
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.errors import CheckpointError
from mmptq.models import PLAN_KEY, QConfig, QuantDetector, QuantModel, Trace, build_plan, trace
from mmptq.models.trace import flatten_tensors
from mmptq.modules import QuantLayer, out_channels, quantized_class

NAMES = ["retinanet", "faster_rcnn"]
W4 = dict(weight=dict(num_bits=4), act=dict(num_bits=4))
REAL = dict(weight=dict(num_bits=10 / 3), act=dict(num_bits=4.2))
Raw = Callable[[QuantDetector, Tensor], list[Tensor]]
Make = Callable[..., Any]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) > 0 and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def predict(model: QuantDetector) -> list[Tensor]:
    """Boxes, scores and labels as MMDetection's test loop gets them."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (3, 96, 128), generator=generator, dtype=torch.uint8)
    sample = DetDataSample(
        metainfo=dict(img_shape=(96, 128), ori_shape=(96, 128), scale_factor=(1.0, 1.0))
    )
    with torch.no_grad():
        (result,) = model.test_step(dict(inputs=[pixels], data_samples=[sample]))
    found = result.pred_instances
    return [found.bboxes, found.scores, found.labels]


# --- prepare ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_prepared_but_not_calibrated_it_is_the_float_model(
    make_wrapped: Make, raw: Raw, image: Tensor, name: str
) -> None:
    model = make_wrapped(name)
    expected = raw(model, image)
    model.prepare(find_adapter(model.model).plan(QConfig.parse(W4)))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert not any(quantized_class(m) for m in model.modules())
    for got, wanted in zip(raw(model, image), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_switching_quantizers(make_quantized: Make, raw: Raw, image: Tensor, name: str) -> None:
    model = make_quantized(name, **W4)
    outputs = {}
    for weights in (True, False):
        for activations in (True, False):
            model.enable_quantizers(weights, activations)
            outputs[weights, activations] = raw(model, image)
    keys = list(outputs)
    assert not any(equal(outputs[a], outputs[b]) for a in keys for b in keys if a < b)
    model.enable_quantizers(True, True)
    assert equal(raw(model, image), outputs[True, True])


@pytest.mark.parametrize("name", NAMES)
def test_every_quantizer_of_the_plan_is_there(make_quantized: Make, name: str) -> None:
    model = make_quantized(name, **W4)
    plan = model.plan
    assert set(model.sites) == {site.name for site in plan.sites}
    assert set(model.weight_quantizers()) == {layer.name for layer in plan.layers if layer.weight}
    for quantizer in [*model.sites.values(), *model.weight_quantizers().values()]:
        assert quantizer.calibrated and quantizer.enabled
    registered = {id(m) for m in model.modules()}
    assert all(id(q) in registered for q in model.sites.values())


def test_preparing_twice(make_quantized: Make) -> None:
    model = make_quantized("retinanet", **W4)
    with pytest.raises(RuntimeError, match="prepared already"):
        model.prepare(model.plan)


def test_a_shared_convolution_is_quantized_under_all_its_names() -> None:
    class Shared(nn.Module):
        """As heads of RTMDet: one convolution, one norm a level."""

        def __init__(self) -> None:
            super().__init__()
            conv = nn.Conv2d(3, 3, 3, padding=1)
            self.levels = nn.ModuleList(
                nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU()) for _ in range(2)
            )
            self.out = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.out(level(x)) for level in self.levels]

    torch.manual_seed(0)
    inner, x = Shared().eval(), torch.randn(1, 3, 8, 8)
    model = QuantModel(inner, name="net")
    layers = ["levels.0.0", "out"]
    plan = build_plan(inner, trace(inner, layers, inner, x), QConfig.parse(W4))
    expected = inner(x)
    model.prepare(plan)
    assert inner.levels[0][0] is inner.levels[1][0]
    assert isinstance(inner.levels[1][0], QuantLayer)
    for _ in range(2):
        for got, wanted in zip(model(x), expected, strict=True):
            torch.testing.assert_close(got, wanted)


def test_a_deep_copy_is_whole_and_independent(
    make_quantized: Make, raw: Raw, image: Tensor
) -> None:
    model = make_quantized("retinanet", **W4)
    expected = raw(model, image)
    twin = copy.deepcopy(model)
    assert equal(raw(twin, image), expected)
    registered = {id(m) for m in twin.modules()}
    assert all(id(q) in registered for q in twin.sites.values())
    for quantizer in twin.sites.values():
        quantizer.set_num_bits(2)
    assert not equal(raw(twin, image), expected)
    assert equal(raw(model, image), expected)


def test_a_copy_made_before_loading_prepares_itself_and_not_the_original(
    make_wrapped: Make, make_quantized: Make, raw: Raw, image: Tensor
) -> None:
    model, source = make_wrapped("retinanet"), make_quantized("retinanet", **W4)
    twin = copy.deepcopy(model)
    twin.load_state_dict(source.state_dict())
    assert model.plan is None and twin.plan == source.plan
    assert equal(raw(twin, image), raw(source, image))


# --- float checkpoints --------------------------------------------------------------------------

LOADERS: dict[str, Callable[[nn.Module, dict[str, Tensor]], Any]] = {
    "torch": lambda m, s: m.load_state_dict(s),
    "torch_assign": lambda m, s: m.load_state_dict(s, assign=True),
    "mmengine": lambda m, s: mmengine_load(m, s, strict=True),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("prefixed", [True, False])
def test_a_float_checkpoint_with_and_without_prefix(
    make_wrapped: Make, raw: Raw, image: Tensor, name: str, loader: str, prefixed: bool
) -> None:
    source, target = make_wrapped(name), make_wrapped(name, trained=False)
    state = source.state_dict() if prefixed else source.model.state_dict()
    keys = set(state)
    LOADERS[loader](target, state)
    assert set(state) == keys  # the caller's dict is left alone
    assert target.plan is None
    assert equal(raw(target, image), raw(source, image))


def test_a_float_checkpoint_from_a_file(
    make_wrapped: Make, raw: Raw, image: Tensor, tmp_path: Path
):
    source, target = make_wrapped("retinanet"), make_wrapped("retinanet", trained=False)
    file = tmp_path / "float.pth"
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in source.model.state_dict().items()}}, file
    )
    load_checkpoint(target, str(file), map_location="cpu", strict=True)
    assert equal(raw(target, image), raw(source, image))


@pytest.mark.parametrize("loader", LOADERS)
def test_a_float_checkpoint_for_a_prepared_model(
    make_wrapped: Make, make_quantized: Make, loader: str
) -> None:
    target = make_quantized("retinanet", **W4)
    with pytest.raises(CheckpointError, match="float checkpoint .* quantized already.*new model"):
        LOADERS[loader](target, make_wrapped("retinanet").state_dict())


# --- quantized checkpoints ------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("qconfig", [W4, REAL, {**W4, "scope": "backbone_neck", "per_call": False}])
def test_a_fresh_model_takes_the_quantized_form_bit_for_bit(
    make_quantized: Make,
    make_wrapped: Make,
    raw: Raw,
    image: Tensor,
    name: str,
    loader: str,
    qconfig: dict[str, Any],
) -> None:
    source = make_quantized(name, **qconfig)
    target = make_wrapped(name, trained=False)
    LOADERS[loader](target, get_state_dict(source))
    assert target.plan == source.plan
    assert equal(raw(target, image), raw(source, image))
    assert equal(predict(target), predict(source))
    assert set(target.state_dict()) == set(source.state_dict())


def test_a_checkpoint_from_before_the_plan_had_all_its_fields(
    make_quantized: Make, make_wrapped: Make, raw: Raw, image: Tensor
) -> None:
    source = make_quantized("retinanet")
    state = get_state_dict(source)
    plan = json.loads(bytes(state[PLAN_KEY].tolist()))
    for field in ("target", "int32_bias", "links", "weights"):
        del plan[field]
    text = json.dumps(plan, sort_keys=True).encode()
    state[PLAN_KEY] = torch.tensor(list(text), dtype=torch.uint8)
    target = make_wrapped("retinanet", trained=False)
    target.load_state_dict(state)
    assert equal(raw(target, image), raw(source, image))
    assert bytes(state[PLAN_KEY].tolist()) == text  # the caller's is as it was


@pytest.mark.parametrize("name", NAMES)
def test_through_mmengines_files(
    make_quantized: Make, make_wrapped: Make, raw: Raw, image: Tensor, name: str, tmp_path: Path
) -> None:
    source, file = make_quantized(name, **REAL), tmp_path / "quantized.pth"
    save_checkpoint({"meta": {}, "state_dict": get_state_dict(source)}, str(file))
    assert PLAN_KEY in torch.load(file, weights_only=True)["state_dict"]
    target = make_wrapped(name, trained=False)
    load_checkpoint(target, str(file), map_location="cpu")
    assert equal(predict(target), predict(source))
    load_checkpoint(target, str(file), map_location="cpu")  # and once more over itself
    assert equal(predict(target), predict(source))


def test_inside_another_module(make_quantized: Make, make_wrapped: Make, raw: Raw, image: Tensor):
    source = make_quantized("retinanet", **W4)
    for loader in LOADERS.values():
        target = nn.ModuleDict({"wrapped": make_wrapped("retinanet", trained=False)})
        loader(target, {f"wrapped.{k}": v for k, v in source.state_dict().items()})
        assert equal(raw(target["wrapped"], image), raw(source, image))


def test_a_later_change_of_bits_is_saved(
    make_quantized: Make, make_wrapped: Make, raw: Raw, image: Tensor
) -> None:
    source, target = make_quantized("retinanet", **W4), make_wrapped("retinanet", trained=False)
    for quantizer in source.sites.values():
        quantizer.set_num_bits(3.3)
    target.load_state_dict(source.state_dict())
    assert {q.scheme.num_bits for q in target.sites.values()} == {3.3}
    assert equal(raw(target, image), raw(source, image))


@pytest.mark.parametrize("loader", LOADERS)
def test_a_checkpoint_of_another_kind_of_model(
    make_quantized: Make, make_wrapped: Make, loader: str
) -> None:
    state = make_quantized("retinanet", **W4).state_dict()
    with pytest.raises(CheckpointError, match="from a RetinaNet, the config builds a FasterRCNN"):
        LOADERS[loader](make_wrapped("faster_rcnn"), state)


def variant(detector_cfgs: dict[str, Any], **head: Any) -> QuantDetector:
    cfg = copy.deepcopy(detector_cfgs["retinanet"])
    cfg["bbox_head"].update(head)
    return QuantDetector(detector_type=cfg.pop("type"), **cfg)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("head", "message"),
    [
        (dict(stacked_convs=1), r"layer 'bbox_head.cls_convs.1.conv' that the config's RetinaNet"),
        (dict(num_classes=7), r"retina_cls\.\S+ has shape .* in the quantized checkpoint and"),
        (dict(stacked_convs=3), r"lacks \d+ tensors of the model, first .*_convs\.2"),
        (dict(conv_cfg=dict(type="ConvWS")), r"cls_convs.0.conv' is a Conv2d .* ConvWS2d"),
    ],
)
def test_a_checkpoint_of_another_build(
    make_quantized: Make,
    detector_cfgs: dict[str, Any],
    loader: str,
    head: dict[str, Any],
    message: str,
) -> None:
    state = make_quantized("retinanet", **W4).state_dict()
    with pytest.raises(CheckpointError, match=message) as error:
        LOADERS[loader](variant(detector_cfgs, **head), state)
    assert "config" in str(error.value) or "another model" in str(error.value)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "part", ["weight_quantizer.scale", "input_quantizers.0.num_bits", "weight"]
)
def test_a_checkpoint_with_a_tensor_missing(
    make_quantized: Make, make_wrapped: Make, loader: str, part: str
) -> None:
    state = make_quantized("retinanet", **W4).state_dict()
    del state[f"detector.backbone.layer1.0.conv1.{part}"]
    with pytest.raises(CheckpointError, match=rf"lacks 1 tensors.*conv1\.{part}"):
        LOADERS[loader](make_wrapped("retinanet"), state)


def test_a_prepared_model_gives_up_corrections_that_the_checkpoint_has_not(
    make_quantized: Make,
) -> None:
    target = make_quantized("retinanet", **W4)
    plain = target.state_dict()
    _, layer = next(target.quant_layers())
    layer.set_bias_correction(layer.weight.new_ones(out_channels(layer)))
    target.load_state_dict(plain)
    assert layer.bias_correction is None
    assert set(target.state_dict()) == set(plain)


def test_a_checkpoint_with_another_plan(make_quantized: Make) -> None:
    target = make_quantized("retinanet", **W4)
    state = make_quantized("retinanet", **REAL).state_dict()
    with pytest.raises(CheckpointError, match="another plan"):
        target.load_state_dict(state)


def test_a_damaged_plan(make_quantized: Make, make_wrapped: Make) -> None:
    state = make_quantized("retinanet", **W4).state_dict()
    state[PLAN_KEY] = state[PLAN_KEY][:-9]
    with pytest.raises(CheckpointError, match="unreadable"):
        make_wrapped("retinanet").load_state_dict(state)


# --- passes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_forward_starts_a_new_pass(make_quantized: Make, name: str) -> None:
    model = make_quantized(name, **W4)
    first = predict(model)
    assert all(equal(first, predict(model)) for _ in range(3))


def test_the_inner_model_run_twice_without_a_new_pass_raises(
    make_quantized: Make, image: Tensor
) -> None:
    model = make_quantized("retinanet", **W4)
    with torch.no_grad():
        model(image)
        with pytest.raises(RuntimeError, match="prepared for 5 calls"):
            model.model(image)
        model(image)


def test_gradients_reach_weights_and_steps(make_quantized: Make, image: Tensor) -> None:
    model = make_quantized("retinanet", **W4)
    scales = [q.scale.requires_grad_() for q in model.sites.values()]
    model.start_pass()
    outputs = find_adapter(model.model).raw_outputs(image)
    sum(x.square().mean() for x in flatten_tensors(outputs)).backward()
    assert all(s.grad is not None and bool(s.grad.isfinite()) for s in scales)
    weight = model.model.get_submodule("backbone.layer2.0.conv1").weight
    assert weight.grad is not None and bool((weight.grad != 0).any())


def test_an_empty_trace_has_nothing_to_quantize(make_detector: Make) -> None:
    from mmptq.errors import ConfigError

    with pytest.raises(ConfigError):
        build_plan(make_detector("retinanet"), Trace(), QConfig.parse(W4))
