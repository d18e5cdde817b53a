"""The moving front on a network whose calls differ from image to image."""

import pytest
import torch
from torch import Tensor, nn

from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.units.front import Front
from mmptq.modules.swap import to_quantized


class Levels(nn.Module):
    """Reads the second level of large images only, as MMDetection's RoI extractor does."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = (to_quantized(nn.Conv2d(1, 2, 3)) for _ in range(2))
        self.pool_low, self.pool_high = nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d(2)
        self.head, self.last = (to_quantized(nn.Conv2d(2, 2, 1)) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        low, high = self.low(image), self.high(image)
        regions = self.pool_low(low)
        if image.shape[-1] > 8:
            regions = regions + self.pool_high(high)
        else:
            regions = regions + high.sum() * 0.0
        return self.last(self.head(regions))


@pytest.fixture
def nan_in_fresh_memory():
    """Tensors that torch leaves uninitialised are full of NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@torch.no_grad()
def outputs_of(model: Levels, target: str, front: Front, images: list[Tensor]) -> list[Tensor]:
    """What the layer gives in a round of the front."""
    found: list[Tensor] = []
    handle = model.get_submodule(target).register_forward_hook(
        lambda module, args, output: found.append(output)
    )
    for i, image in enumerate(images):
        for layer in (model.low, model.high, model.head, model.last):
            layer.reset_calls()
        with front.passing(i):
            model(image)
    handle.remove()
    front.settle()
    return found


def test_a_level_that_an_image_does_not_read(tmp_path, nan_in_fresh_memory):
    torch.manual_seed(0)
    model = Levels().eval()
    images = [torch.randn(1, 1, 16, 16), torch.randn(1, 1, 8, 8)]
    graph = CallGraph(model, model, images[0])
    front = Front(model, graph, 1.0, tmp_path, len(images))
    with torch.no_grad():
        expected = [model(image) for image in images]
    front.move(graph.by_module["head"], ["head", "last"], run_targets=True)
    heads = outputs_of(model, "head", front, images)
    assert all(torch.equal(model.last(x), y) for x, y in zip(heads, expected, strict=True))
    front.move(graph.by_module["last"], ["last"], run_targets=True)
    found = outputs_of(model, "last", front, images)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
