"""Links on small modules whose structure is known by construction."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.models import Link, Plan, QConfig, build_plan, trace
from mmptq.models.trace import Trace

Between = Callable[[Tensor], Tensor]


def conv(cin: int = 3, cout: int = 4, **kwargs: Any) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1, **kwargs)


def run(model: nn.Module, with_outputs: bool = True) -> Trace:
    layers = [
        n
        for n, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)
    ]
    image = torch.randn(1, 3, 8, 8)
    return trace(model, layers, lambda x: model(x) if with_outputs else discard(model(x)), image)


def discard(outputs: Any) -> None:
    """As a detector's prediction does."""


def pairs(model: nn.Module, with_outputs: bool = True) -> set[tuple[str, str]]:
    return {(link.before, link.after) for link in run(model, with_outputs).links}


class Pair(nn.Module):
    """Two convolutions with ``between`` between them."""

    def __init__(self, between: Between, second: nn.Module | None = None) -> None:
        super().__init__()
        self.a, self.between = conv(), between
        self.b = second or conv(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


COMMUTING: dict[str, Between] = {
    "nothing": lambda x: x,
    "relu": F.relu,
    "relu_": torch.relu_,
    "relu_module": nn.ReLU(inplace=True),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1, inplace=True),
    "max_pool": lambda x: F.max_pool2d(F.relu(x), 2),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, padding=1),
    "adaptive_pool": lambda x: F.adaptive_avg_pool2d(x, 3),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "dropout": nn.Dropout(),
    "reads_the_shape": lambda x: F.relu(x)[...] if len(x.shape) != 4 else F.relu(x),
}
OTHERS: dict[str, Between] = {
    "relu6": F.relu6,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "hardswish": F.hardswish,
    "plus_one": lambda x: x + 1,
    "concatenated": lambda x: torch.cat((x[:, :2], x[:, 2:]), 1),
    "shuffled": lambda x: x.flip(1),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "group_norm": nn.GroupNorm(2, 4),
    "instance_norm": nn.InstanceNorm2d(4),
    "detached": lambda x: x.detach(),
    "residual": lambda x: x + F.relu(x),
    "gated": lambda x: x * F.adaptive_avg_pool2d(x, 1).sigmoid(),
    # Detached readers are no part of the graph.
    "detached_reader": lambda x: F.relu(x) * (1 + x.detach().mean()),
    "read_as_data": lambda x: F.relu(x) * (1 + float(x.data.mean())),
}


@pytest.mark.parametrize("name", COMMUTING)
def test_what_commutes_passes(name: str) -> None:
    assert pairs(Pair(COMMUTING[name])) == {("a", "b")}


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_not_commute_stops(name: str) -> None:
    assert pairs(Pair(OTHERS[name])) == set()


@pytest.mark.parametrize(
    "second",
    [conv(4, 4, groups=4), conv(4, 6, groups=2), nn.ConvTranspose2d(4, 6, 2, groups=2)],
    ids=["depthwise", "grouped", "transposed"],
)
def test_kinds_of_convolutions(second: nn.Module) -> None:
    assert pairs(Pair(F.relu, second)) == {("a", "b")}


class Mlp(nn.Module):
    def __init__(self, between: Between) -> None:
        super().__init__()
        self.stem, self.between = conv(), between
        self.a, self.b = nn.Linear(256, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(1).unsqueeze(1).expand(-1, 8, -1)
        return self.b(self.between(self.a(tokens)))


def test_linear_layers_over_activations_alone() -> None:
    """Pooling a sequence of tokens mixes its channels; a flattened map has other channels."""
    assert pairs(Mlp(F.relu)) == {("a", "b")}
    assert pairs(Mlp(lambda x: F.max_pool2d(x, 3, 1, 1))) == set()


class Branches(nn.Module):
    """What two layers, the output or a loss read besides is no link."""

    def __init__(self, use: str) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.use = conv(), conv(4), conv(4), use

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        y = self.a(x.relu())
        if self.use == "two_layers":
            return y, self.b(x.relu())
        if self.use == "output":
            return y, x
        return y, x.detach().amax()


@pytest.mark.parametrize("use", ["two_layers", "output", "detached"])
def test_a_second_reader(use: str) -> None:
    assert pairs(Branches(use)) == set()


def test_readers_in_a_prediction_whose_outputs_nobody_returns() -> None:
    class Predicts(Branches):
        def forward(self, x: Tensor) -> Any:
            x = self.stem(x)
            scores = self.a(x.relu())
            return scores * x if self.use == "read" else scores

    assert pairs(Predicts("read"), with_outputs=False) == set()
    assert pairs(Predicts("alone"), with_outputs=False) == {("stem", "a")}


class Norms(nn.Module):
    """A norm right behind the convolution, or behind its activation."""

    def __init__(self, behind: bool) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.behind = conv(), nn.BatchNorm2d(4), conv(4), behind

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(self.norm(x).relu() if self.behind else self.norm(x.relu()))


def plan_of(model: nn.Module, **qconfig: Any) -> Plan:
    return build_plan(model, run(model), QConfig.parse(qconfig))


def test_a_norm_that_is_folded() -> None:
    assert run(Norms(True)).links == [Link("a", "b", "norm")]
    plan = plan_of(Norms(True))
    assert plan.links == (("a", "b"),) and Plan.from_tensor(plan.to_tensor()) == plan
    assert plan_of(Norms(True), fold_bn=False).links == ()
    assert run(Norms(False)).links == []


class Shared(nn.Module):
    """A head over two levels; one of its layers may run once more, or share a parameter."""

    def __init__(self, use: str = "") -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = conv(), conv(4), conv(4), conv(4)
        self.use = use
        if use == "tied":
            self.c.weight = self.b.weight

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        outputs = [self.b(self.a(level).relu()) for level in (x, x[..., ::2])]
        if self.use == "a_once_more":
            outputs.append(self.a(x))
        if self.use == "b_once_more":
            outputs.append(self.b(x))
        if self.use == "other_layer":
            outputs.append(self.b(self.c(x).relu()))
        if self.use == "tied":
            outputs.append(self.c(x))
        return outputs


def test_a_head_shared_by_levels() -> None:
    assert pairs(Shared()) == {("a", "b")}


@pytest.mark.parametrize("use", ["a_once_more", "b_once_more", "other_layer", "tied"])
def test_a_head_with_calls_of_another_kind(use: str) -> None:
    assert ("a", "b") not in pairs(Shared(use))


def test_channels_that_do_not_match() -> None:
    """A matrix multiplies the last axis of a map, which is none of its channels."""
    assert pairs(Pair(F.relu, nn.Linear(8, 5))) == set()


def test_detectors(make_detector: Callable[[str], nn.Module]) -> None:
    from mmptq.adapters import find_adapter

    links = find_adapter(make_detector("retinanet")).plan(QConfig.parse({})).links
    blocks = [(n, m) for n in ("1", "2", "3", "4") for m in "01"]
    wanted = {(f"backbone.layer{n}.{m}.conv1", f"backbone.layer{n}.{m}.conv2") for n, m in blocks}
    for branch, last in (("cls", "retina_cls"), ("reg", "retina_reg")):
        convs = [f"bbox_head.{branch}_convs.{i}.conv" for i in (0, 1)]
        wanted |= {(convs[0], convs[1]), (convs[1], f"bbox_head.{last}")}
    assert set(links) == wanted
    links = find_adapter(make_detector("faster_rcnn")).plan(QConfig.parse({})).links
    assert ("roi_head.bbox_head.shared_fcs.0", "roi_head.bbox_head.shared_fcs.1") in links
    assert not any("rpn" in name for pair in links for name in pair)
