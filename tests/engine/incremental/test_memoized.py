"""Passes that take from a recorded one what is the same, against whole ones, bit by bit."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.engine.incremental.memoized import MemoizedForward
from mmptq.models.trace import flatten_tensors
from mmptq.modules import QuantConv2d, QuantLayer
from tests.calibration_support import W4A4, WITH_OUTPUTS, MakeContext, make_context  # noqa: F401
from tests.calibration_support import quantized_conv as conv


class Deciding(nn.Module):
    """Looks again at what it finds, as often as its scores say, and writes to what it was given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)

        self.stem = nn.Sequential(conv(), nn.ReLU(inplace=True), conv())
        self.block = nn.Sequential(conv(), nn.ReLU(inplace=True), conv())
        self.score, self.head = nn.Sequential(conv()), nn.Sequential(conv(), nn.Identity(), conv())

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image.repeat(1, 4, 1, 1)[:, :4])
        y = self.block(x)
        y += x  # writes to what the block returned
        scores = self.score(y)
        times = int(scores.square().sum() * 100) % 4
        return [y, scores, *(self.head(y[..., i:, :]) for i in range(times))]

    def start(self) -> None:
        for module in self.modules():
            if isinstance(module, QuantLayer):
                module.reset_calls()


def convs(model: nn.Module) -> dict[str, Any]:
    return {name: m for name, m in model.named_modules() if isinstance(m, QuantConv2d)}


@contextmanager
def counted(model: nn.Module) -> Iterator[Counter[str]]:
    """How often each layer computes."""
    ran: Counter[str] = Counter()
    layers = convs(model)
    for name, layer in layers.items():
        layer._conv_forward = _counting(layer, name, ran)
    yield ran
    for layer in layers.values():
        del layer.__dict__["_conv_forward"]


def _counting(layer: QuantConv2d, name: str, ran: Counter[str]) -> Any:
    original = type(layer)._conv_forward

    def run(*args: Any) -> Tensor:
        ran[name] += 1
        return original(layer, *args)

    return run


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


@torch.no_grad()
def test_as_often_as_the_model_decides() -> None:
    model, rng = Deciding().eval(), random.Random(0)
    layers, lengths = convs(model), set()
    memo = MemoizedForward(model, layers, 1.0)
    for _ in range(4):
        image = torch.randn(1, 3, 16, 16)
        with memo.recording():
            model.start()
            model(image)
        assert memo.bytes_kept > 0
        for name in layers:
            scale = layers[name].weight_quantizer.scale
            before = scale.clone()
            scale.mul_(rng.choice([0.8, 0.9, 1.1]))
            model.start()
            with memo.answering():
                found = model(image)
            calls = [layer.calls for layer in layers.values()]
            model.start()
            assert same(found, model(image))
            assert calls == [layer.calls for layer in layers.values()]
            lengths.add(len(found))
            # Its version is another one now, so that its layer counts as changed in what follows.
            scale.copy_(before)
    assert len(lengths) > 2
    assert not any("forward" in module.__dict__ for module in model.modules())


@torch.no_grad()
def test_only_what_differs_is_computed() -> None:
    model, image = Deciding().eval(), torch.randn(1, 3, 16, 16)
    with counted(model) as ran:
        model.start()
        model(image)
        times = ran["head.0"]
        memo = MemoizedForward(model, ["score.0"], 1.0)
        with memo.recording():
            model.start()
            model(image)
        model.score[0].weight_quantizer.enabled = False
        ran.clear()
        model.start()
        with memo.answering():
            model(image)
        # The block's output is written to: it is computed again, and all else is not.
        assert times and ran.pop("head.0", 0) == ran.pop("head.2", 0) < 4
        assert ran == {"block.0": 1, "block.2": 1, "score.0": 1}


@torch.no_grad()
@pytest.mark.parametrize("max_gb", [0.0, 10000 / 2**30])
def test_memory_is_bounded(max_gb: float) -> None:
    model, image = Deciding().eval(), torch.randn(1, 3, 16, 16)
    memo = MemoizedForward(model, ["head.2"], max_gb)
    with memo.recording():
        model.start()
        model(image)
    assert memo.bytes_kept <= max_gb * 2**30
    assert (memo.bytes_kept > 0) == (max_gb > 0)
    model.head[2].weight_quantizer.enabled = False
    model.start()
    with memo.answering():
        found = model(image)
    model.start()
    assert same(found, model(image))


@torch.no_grad()
def test_another_input_is_computed() -> None:
    model = Deciding().eval()
    memo = MemoizedForward(model, ["head.2"], 1.0)
    image, other = torch.randn(1, 3, 16, 16), torch.randn(1, 3, 16, 16)
    with memo.recording():
        model.start()
        model(image)
    model.start()
    with memo.answering():
        found = model(other)
    model.start()
    assert same(found, model(other))


@torch.no_grad()
def test_modules_are_left_as_they_were() -> None:
    model = Deciding().eval()
    memo = MemoizedForward(model, ["head.2"], 1.0)
    for context in (memo.recording, memo.answering):
        with pytest.raises(RuntimeError), context():
            model.start()
            model(torch.randn(1, 3, 16, 16).to(torch.float64))
        assert not any("forward" in module.__dict__ for module in model.modules())
    image = torch.randn(1, 3, 16, 16)
    with memo.recording():
        model.start()
        model(image)
    assert memo.bytes_kept > 0  # what broke off does not keep it from recording


def predicted(model: Any, batch: Any) -> list[Tensor]:
    return [*flatten_tensors([sample.to_dict() for sample in model.test_step(batch)])]


@torch.no_grad()
@pytest.mark.parametrize("everything", [False, True], ids=["alone", "all but each"])
@pytest.mark.parametrize(
    ("name", "qconfig"),
    [("retinanet", W4A4), ("retinanet", WITH_OUTPUTS), ("faster_rcnn", W4A4)],
)
def test_predictions_of_detectors(
    name: str,
    qconfig: dict[str, Any],
    everything: bool,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context(name, qconfig=qconfig)
    model = context.model
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    names = [layer for layer, _ in model.quant_layers()]
    model.enable_quantizers(weights=everything, activations=everything)
    memo = MemoizedForward(model.model, names, 1.0)
    differing = 0
    for _, batch in context.data:
        with memo.recording():
            reference = predicted(model, batch)
        for quantizer in quantizers[::7]:
            quantizer.enabled = not everything
            with memo.answering():
                found = predicted(model, batch)
            expected = predicted(model, batch)
            quantizer.enabled = everything
            assert same(found, expected)
            differing += not same(reference, expected)
    assert differing > 5


@torch.no_grad()
def test_the_head_of_a_detector_alone_is_computed(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("faster_rcnn", images=1)
    model = context.model
    changing = "roi_head.bbox_head.fc_reg"
    memo = MemoizedForward(model.model, [changing], 1.0)
    ((_, batch),) = context.data
    with counted(model.model) as ran:
        with memo.recording():
            model.test_step(batch)
        assert ran["backbone.conv1"] == 1 and ran["rpn_head.rpn_conv"] == 5
        ran.clear()
        model.weight_quantizers()[changing].enabled = False
        with memo.answering():
            model.test_step(batch)
        assert not ran


@torch.no_grad()
def test_a_call_whose_quantizer_changes_alone_is_computed(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    model, changing = context.model, "bbox_head.retina_cls"
    memo = MemoizedForward(model.model, [changing], 1.0)
    ((_, batch),) = context.data
    reader = dict(model.quant_layers())[changing].reader(2)
    assert reader is not None
    with counted(model.model) as ran:
        with memo.recording():
            model.test_step(batch)
        ran.clear()
        reader.enabled = False
        with memo.answering():
            model.test_step(batch)
        assert ran == {changing: 1}
