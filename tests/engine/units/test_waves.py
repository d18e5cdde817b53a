"""Layers that need not wait for each other."""

import pytest
import torch
from torch import Tensor, nn

from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.units.waves import waves
from mmptq.modules import QuantLayer, to_quantized


class Branches(nn.Module):
    """Two branches of one stem that meet again, behind them a layer that reads itself."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("stem", "left", "right", "deep", "loop"):
            self.add_module(name, to_quantized(nn.Conv2d(3, 3, 1)))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        left = self.left(x)
        both = self.deep(self.right(x)) + left
        return self.loop(self.loop(both))


class Cycle(nn.Module):
    """Two layers that read each other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (to_quantized(nn.Conv2d(3, 3, 1)) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        return self.b(self.a(self.b(self.a(image))))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Branches(), [["stem"], ["left", "right"], ["deep"], ["loop"]]),
        (Cycle(), [["a"], ["b"]]),
    ],
)
def test_waves(model: nn.Module, expected: list[list[str]]) -> None:
    graph = CallGraph(model, model, torch.randn(1, 3, 4, 4))
    names = [n for n, m in model.named_modules() if isinstance(m, QuantLayer)]
    assert list(waves(graph, names)) == expected
