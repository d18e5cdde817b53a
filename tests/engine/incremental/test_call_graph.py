"""Dependencies of module calls, on a network whose answers are written by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.engine.incremental.call_graph import CallGraph, map_tensors
from mmptq.modules.swap import to_quantized


def conv() -> nn.Module:
    return to_quantized(nn.Conv2d(3, 3, 1))


class Net(nn.Module):
    """image -> a -> block(b, relu) -> (c, d); c and d are outputs, d reads a as well."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = conv(), conv(), conv(), conv()
        self.block = nn.Sequential(self.b, nn.ReLU(inplace=True))

    def forward(self, image: Tensor) -> list[Tensor]:
        a = self.a(image)
        x = self.block(a)
        return [self.c(x), self.d(F.relu(x + a))]


def graph() -> CallGraph:
    torch.manual_seed(0)
    net = Net().eval()
    return CallGraph(net, net, torch.randn(1, 3, 4, 4))


def names(graph: CallGraph, calls: set[int]) -> set[str]:
    return {graph.calls[i].module for i in calls}


def bits(graph: CallGraph, *layers: str) -> int:
    return graph.bits(layers)


def test_upstream_of_each_call() -> None:
    g = graph()
    upstream = {call.module: call.upstream for call in g.calls}
    assert upstream["a"] == bits(g, "a")
    assert upstream["block"] == bits(g, "a", "b")
    assert upstream["c"] == bits(g, "a", "b", "c")
    assert upstream["d"] == bits(g, "a", "b", "d")


def test_cut_is_the_outermost_that_does_not_change() -> None:
    g = graph()
    assert names(g, g.cut(bits(g, "c"))) == {"block", "d"}
    assert names(g, g.cut(bits(g, "d"))) == {"a", "block", "c"}
    assert names(g, g.cut(bits(g, "b"))) == {"a"}
    assert names(g, g.cut(bits(g, "a"))) == set()
    assert names(g, g.cut(0)) == {"c", "d"}


def test_resolve_runs_only_what_is_needed() -> None:
    g = graph()
    hits, runs = g.resolve(g.cut(bits(g, "c")), set())
    assert (names(g, hits), names(g, runs)) == ({"block", "d"}, {"c"})
    hits, runs = g.resolve(g.cut(bits(g, "b")), set())
    assert names(g, hits) == {"a"}
    assert names(g, runs) == {"block", "b", "block.1", "c", "d"}
    hits, runs = g.resolve(set(), set())
    assert not hits
    assert names(g, runs) == {"a", "block", "b", "block.1", "c", "d"}


def test_writes_to_an_output_are_seen_and_in_place_modules_not_stored() -> None:
    calls = {call.module: call for call in graph().calls}
    assert calls["b"].mutated == (True,)
    assert calls["block"].mutated == (False,)
    assert not calls["block.1"].storable
    assert calls["block"].storable
    assert calls["block"].inner == {"b": 1, "block.1": 1}


def test_single_calls_have_bits_of_their_own() -> None:
    g = graph()
    assert g.call_bits([("a", 0), ("d", 0)]) == bits(g, "a", "d")
    with pytest.raises(KeyError):
        g.call_bits([("a", 1)])


def test_map_tensors_keeps_the_nesting() -> None:
    one = torch.ones(1)
    assert map_tensors({"a": (one, [one, None])}, float) == {"a": (1.0, [1.0, None])}
