"""Reads that autograd does not see, by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.incremental.dependencies import HiddenReads
from mmptq.modules.swap import to_quantized


class Decoder(nn.Module):
    """Its second layer reads the first one's output in a way that leaves no gradient."""

    def __init__(self, way: Any) -> None:
        super().__init__()
        self.first = to_quantized(nn.Linear(4, 4))
        self.second = to_quantized(nn.Linear(4, 4))
        self.third = to_quantized(nn.Linear(4, 4))
        self.way = way

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.first(x)
        return [first, self.second(self.way(x, first)), self.third(x)]


def detached(x: Tensor, first: Tensor) -> Tensor:
    return x + first.detach()


def without_gradient(x: Tensor, first: Tensor) -> Tensor:
    with torch.no_grad():
        refined = (first * 2).clamp(min=0)
    return x * refined


def by_index(x: Tensor, first: Tensor) -> Tensor:
    return x[:, first.argsort(dim=1)[0]]


def written_in_place(x: Tensor, first: Tensor) -> Tensor:
    points = torch.zeros(1, 4)
    points[:, :2] = first.detach()[:, :2]
    return x + points


@pytest.mark.parametrize("way", [detached, without_gradient, by_index, written_in_place])
def test_the_second_layer_depends_on_the_first(way: Any) -> None:
    model = Decoder(way)
    graph = CallGraph(model, model, torch.randn(1, 4), ["first", "second", "third"])
    upstream = {call.module: call.upstream for call in graph.calls}
    first, second, third = (graph.bits([name]) for name in ("first", "second", "third"))
    assert upstream["second"] == first | second
    assert (upstream["first"], upstream["third"]) == (first, third)


def test_nothing_hidden_nothing_found() -> None:
    x = torch.randn(3, requires_grad=True)
    with HiddenReads() as reads:
        (x.exp() + torch.ones(3).cumsum(0)).sum()
    assert not reads.found


def test_a_tensor_that_is_passed_on_reads_nothing() -> None:
    x = torch.randn(3, requires_grad=True)
    with HiddenReads() as reads:
        first = x.exp()
        offset = first.detach() * 2
        # As it has the type already, it is itself: it would depend on what comes after it.
        assert first.type_as(offset) is first
    assert not reads.found
