"""Incremental passes against full ones, bit by bit."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.algorithms.lapq.search_space import SearchSpace
from mmptq.engine import LossEvaluator
from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.incremental.incremental import IncrementalForward
from mmptq.models.trace import flatten_tensors
from mmptq.modules import QuantConv2d, QuantLayer
from tests.calibration_support import W4A4, WITH_OUTPUTS, MakeContext, make_context  # noqa: F401
from tests.calibration_support import quantized_conv as conv

TASK, DISTANCE = {"type": "TaskLoss"}, {"type": "OutputDistance"}


@pytest.mark.parametrize(
    ("name", "qconfig"),
    [("retinanet", W4A4), ("retinanet", WITH_OUTPUTS), ("faster_rcnn", W4A4)],
)
@pytest.mark.parametrize(
    ("objective", "cache_gb"),
    [(TASK, 1.0), (TASK, 0.002), (DISTANCE, 0.0)],
    ids=["task", "task with a small cache", "distance without memory"],
)
def test_losses_equal_the_full_ones(
    name: str,
    qconfig: dict[str, Any],
    objective: dict[str, Any],
    cache_gb: float,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context(name, qconfig=qconfig)
    full = LossEvaluator(context, objective, incremental=False)
    incremental = LossEvaluator(context, objective, cache_gb=cache_gb)
    space = SearchSpace(context.model)
    rng = random.Random(0)
    point = [0.0] * len(space)
    for _ in range(7):
        # A line search of three points, then a jump of several variables.
        i = rng.randrange(len(space))
        for step in (1.0, -2.0, 0.5):
            point[i] = step
            space.apply(point)
            assert incremental() == full()
        for i in rng.sample(range(len(space)), rng.choice([1, 5])):
            point[i] = rng.uniform(-2.0, 2.0)
        space.apply(point)
        assert incremental() == full()


def test_a_line_search_computes_only_what_lies_behind(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    evaluator = LossEvaluator(context, TASK, check=False)
    space = SearchSpace(context.model)
    ran: Counter[str] = Counter()
    for name, layer in context.model.quant_layers():
        layer._conv_forward = _counted(layer, name, ran)
    index = next(
        i for i, v in enumerate(space.variables) if v.name == "bbox_head.cls_convs.1.conv.weight"
    )
    point = [0.0] * len(space)
    for step in (0.0, 1.0, 2.0, 3.0):
        point[index] = step
        space.apply(point)
        ran.clear()
        evaluator()
    assert ran == {"bbox_head.cls_convs.1.conv": 5, "bbox_head.retina_cls": 5}


def test_an_activation_site_concerns_only_the_calls_that_read_through_it(
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet", images=1)
    evaluator = LossEvaluator(context, TASK, check=False)
    layers = dict(context.model.quant_layers())
    reader = layers["bbox_head.retina_cls"]._readers[2]
    assert len(set(layers["bbox_head.retina_cls"]._readers)) == 5
    ran: Counter[str] = Counter()
    for name, layer in layers.items():
        layer._conv_forward = _counted(layer, name, ran)
    for factor in (1.0, 1.1, 1.1):
        reader.scale.mul_(factor)
        ran.clear()
        evaluator()
    assert ran == {"bbox_head.retina_cls": 1}


def _counted(layer: QuantLayer, name: str, ran: Counter[str]) -> Any:
    original = type(layer)._conv_forward

    def run(*args: Any) -> Tensor:
        ran[name] += 1
        return original(layer, *args)

    return run


class Toy(nn.Module):
    """A residual block with in-place operations, two outputs, and a head shared by both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)

        self.stem, self.block, self.skip = conv(), nn.Sequential(conv(), nn.ReLU(True)), conv()
        self.unused, self.head = conv(), nn.Sequential(conv(), nn.ReLU(inplace=True), conv())

    def forward(self, image: Tensor) -> dict[str, Any]:
        x = F.relu_(self.stem(image[:, :1].repeat(1, 4, 1, 1)))
        y = self.block(x)
        self.unused(y)
        y += self.skip(x)  # writes to what the block returned
        small = F.max_pool2d(y, 2)
        return {"big": self.head(y), "small": (self.head(small), [small])}


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Toy, IncrementalForward, list[Tensor]]:
    model = Toy().eval()
    images = [torch.randn(1, 3, 16 + 8 * i, 16) for i in range(3)]
    graph = CallGraph(model, model, torch.randn(1, 3, 16, 16))
    return model, IncrementalForward(model, graph, 1.0, tmp_path, len(images)), images


def start(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, QuantLayer):
            module.reset_calls()


@torch.no_grad()
def check_round(model: Toy, forward: IncrementalForward, images: list[Tensor]) -> None:
    forward.start_round()
    for i, image in enumerate(images):
        start(model)
        with forward.passing(i):
            found = model(image)
        calls = [m.calls for m in model.modules() if isinstance(m, QuantLayer)]
        start(model)
        expected = model(image)
        assert found.keys() == expected.keys()
        pairs = zip(flatten_tensors(found), flatten_tensors(expected), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        # Later calls of a layer must find the quantizer of their own.
        assert calls == [m.calls for m in model.modules() if isinstance(m, QuantLayer)]


def test_toy_with_writes_and_a_shared_head(
    toy: tuple[Toy, IncrementalForward, list[Tensor]],
) -> None:
    model, forward, images = toy
    layers = [m for m in model.modules() if isinstance(m, QuantConv2d)]
    rng = random.Random(1)
    check_round(model, forward, images)
    for _ in range(60):
        for layer in rng.sample(layers, rng.choice([0, 1, 1, 1, 2])):
            with torch.no_grad():
                layer.weight_quantizer.scale.mul_(rng.choice([0.9, 1.1]))
        check_round(model, forward, images)


def test_other_changes_of_a_layer_are_seen(
    toy: tuple[Toy, IncrementalForward, list[Tensor]],
) -> None:
    model, forward, images = toy
    check_round(model, forward, images)
    for change in (
        lambda layer: layer.weight.mul_(1.5),
        lambda layer: layer.bias.add_(1.0),
        lambda layer: layer.set_weight_correction("mean"),
        lambda layer: layer.set_bias_correction(torch.ones(4)),
        lambda layer: layer.set_bias_correction(torch.zeros(4)),
        lambda layer: setattr(layer.weight_quantizer, "enabled", False),
    ):
        with torch.no_grad():
            change(model.skip)
        assert forward.start_round() == {("skip", 0)}
        check_round(model, forward, images)


def test_goes_on_after_a_round_that_broke_off(
    toy: tuple[Toy, IncrementalForward, list[Tensor]],
) -> None:
    model, forward, images = toy
    check_round(model, forward, images)
    with torch.no_grad():
        model.skip.weight.mul_(2.0)
    forward.start_round()
    start(model)
    with torch.no_grad(), forward.passing(0):
        model(images[0])
    check_round(model, forward, images)
    check_round(model, forward, images)


def test_leaves_the_modules_as_they_were(
    toy: tuple[Toy, IncrementalForward, list[Tensor]],
) -> None:
    model, forward, images = toy
    with pytest.raises(RuntimeError), forward.passing(0):
        raise RuntimeError
    check_round(model, forward, images)
    assert not any("forward" in module.__dict__ for module in model.modules())


def _mean(x: Tensor) -> Tensor:
    return x.detach().mean()


def _mean_outside_of_torch(x: Tensor) -> float:
    return float(x.detach().numpy().mean())


@pytest.mark.parametrize(("mean", "seen"), [(_mean, True), (_mean_outside_of_torch, False)])
def test_a_hidden_dependency(
    mean: Callable[[Tensor], Any],
    seen: bool,
    make_context: MakeContext,  # noqa: F811
) -> None:
    """What autograd does not see is written down; what nobody sees ends the reuse."""
    context = make_context("retinanet", images=1)
    head: Any = context.model.model.bbox_head

    def hidden(feature: Tensor) -> Any:
        cls = head.cls_convs[1](head.cls_convs[0](feature))
        reg = head.reg_convs[1](head.reg_convs[0](feature + mean(cls)))
        return head.retina_cls(cls), head.retina_reg(reg)

    head.forward_single = hidden
    full = LossEvaluator(context, TASK, incremental=False)
    evaluator = LossEvaluator(context, TASK)
    space = SearchSpace(context.model)
    index = next(
        i for i, v in enumerate(space.variables) if v.name == "bbox_head.cls_convs.1.conv.weight"
    )
    point = [0.0] * len(space)
    for step in (0.0, 1.0, 2.0, 3.0):
        point[index] = step
        space.apply(point)
        assert evaluator() == full()
    assert (evaluator.forward is not None) == seen
