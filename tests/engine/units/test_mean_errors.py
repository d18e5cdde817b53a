"""Mean errors of layers, whatever processes share the images."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.engine.units.mean_errors import MeanError
from mmptq.modules import PackedLinear, to_quantized

NONE: Any = ((), ())


def feed(error: MeanError, floats: list[Tensor], outputs: list[Tensor]) -> None:
    for adder, tensors in ((error.add_float(), floats), (error.add_quantized(), outputs)):
        for image, tensor in enumerate(tensors):
            adder(image, 0, tensor, tensor, NONE)


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (nn.Conv2d(2, 3, 1), (1, 3, 4, 5), (0, 2, 3)),
        (nn.ConvTranspose2d(2, 3, 1), (1, 3, 4, 5), (0, 2, 3)),
        (nn.Conv1d(2, 3, 1), (1, 3, 4), (0, 2)),
        (nn.Linear(2, 3), (1, 3), (0,)),
        (nn.Linear(2, 3), (1, 4, 5, 3), (0, 1, 2)),
    ],
)
def test_mean_over_all_but_the_channels(
    layer: nn.Module, shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    floats, outputs = torch.randn(2, 2, *shape).double().unbind()
    error = MeanError(to_quantized(layer), 2)
    feed(error, list(floats), list(outputs))
    expected = (floats - outputs).mean((0, *(axis + 1 for axis in axes)))
    torch.testing.assert_close(error.mean(), expected)


def test_every_position_counts_once() -> None:
    error = MeanError(to_quantized(nn.Conv2d(1, 1, 1)), 2)
    floats = [torch.full((1, 1, 1, 1), 10.0), torch.full((1, 1, 1, 3), 2.0)]
    feed(error, floats, [torch.zeros_like(x) for x in floats])
    assert error.mean().tolist() == [4.0]  # (10 + 3 * 2) / 4


def test_parts_of_a_packed_layer() -> None:
    error = MeanError(to_quantized(PackedLinear(2, 6)), 1)
    for start, stop, value in ((0, 2, 1.0), (2, None, 3.0)):
        y = torch.full((5, 4 if stop is None else 2), value)
        error.add_float()(0, 0, y, y, ((start, stop), ()))
        error.add_quantized()(0, 0, y, y / 2, ((start,), (("stop", stop),)))
    assert error.mean().tolist() == [0.5, 0.5, 1.5, 1.5, 1.5, 1.5]


def test_a_layer_that_never_ran_lacks_nothing() -> None:
    assert MeanError(to_quantized(nn.Linear(2, 3)), 2).mean().tolist() == [0.0, 0.0, 0.0]


def test_processes_share_the_images_and_get_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = to_quantized(nn.Conv2d(2, 3, 1))
    floats, outputs = (list(torch.randn(7, 1, 3, 9, 9)) for _ in range(2))
    whole, parts = MeanError(layer, 7), [MeanError(layer, 4), MeanError(layer, 3)]
    feed(whole, floats, outputs)
    for rank, part in enumerate(parts):
        feed(part, floats[rank::2], outputs[rank::2])
    expected = whole.mean()
    gather = "mmptq.engine.units.mean_errors.all_gather_object"
    monkeypatch.setattr(gather, lambda _: [(part._sums, part._counts) for part in parts])
    assert torch.equal(parts[0].mean(), expected)
