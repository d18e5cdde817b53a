"""Layers cut out of a graph compute what they compute inside of it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from mmptq.export.graph import pack_int4, to_onnx  # noqa: E402
from mmptq.export.layers import Codes, cut_layers  # noqa: E402
from mmptq.export.qdq import emitting  # noqa: E402
from mmptq.modules import to_quantized  # noqa: E402
from mmptq.quantizers import UniformQuantizer  # noqa: E402
from tests.export.test_qdq import ranged, weight_quantizer  # noqa: E402


class ThreeLayers(nn.Module):
    """A convolution, a ReLU and a linear layer behind it, and a residual addition."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        floats = {"conv": nn.Conv2d(3, 4, 3), "skip": nn.Conv2d(4, 4, 1), "fc": nn.Linear(4, 5)}
        self.sites = {}
        for name, layer in floats.items():
            site = ranged(UniformQuantizer(bits, symmetric=False), -1.0, 2.0)
            quantized: Any = to_quantized(layer)
            quantized.weight_quantizer = weight_quantizer(layer, bits)
            quantized.input_quantizers.append(site)
            quantized.bind_inputs([site])
            self.add_module(name, quantized)
            self.sites[f"{name}:0"] = site

    def quant_layers(self) -> list[Any]:
        return [(name, getattr(self, name)) for name in ("conv", "skip", "fc")]

    def forward(self, x: Tensor) -> Tensor:
        for _, layer in self.quant_layers():
            layer.reset_calls()
        x = self.conv(x).relu()
        return self.fc((self.skip(x) + x).mean((2, 3)))


@pytest.mark.parametrize("bits", [3, 8])
@torch.no_grad()
def test_cut_layers(bits: int) -> None:
    model = ThreeLayers(bits)
    image = torch.randn(1, 3, 8, 8)
    with emitting(model):  # type: ignore[arg-type]
        exported = to_onnx(model, [image], ["x"], ["y"], {})
    pack_int4(exported)
    model(image)
    seen: list[tuple[Tensor, Tensor]] = []
    for _, layer in model.quant_layers():
        layer.register_forward_hook(lambda m, args, y: seen.append((args[0], y.clone())))
    model(image)
    cuts = list(cut_layers(exported))
    assert [cut.name.rsplit("/")[1] for cut in cuts] == ["conv", "skip", "fc"]
    assert [cut.relu for cut in cuts] == [True, False, False]
    # Behind the first a quantizer and the addition read, so runtimes cannot fuse either.
    assert [cut.codes for cut in cuts] == [None, None, None]
    for (x, y), cut in zip(seen, cuts, strict=True):
        (found,) = ReferenceEvaluator(cut.model_for(x.shape)).run(None, {"x": x.numpy()})
        np.testing.assert_allclose(found, cut.expected(y.numpy()), atol=1e-5)


@torch.no_grad()
def test_codes_behind_a_layer() -> None:
    class Chain(ThreeLayers):
        def forward(self, x: Tensor) -> Tensor:
            for _, layer in self.quant_layers():
                layer.reset_calls()
            return self.skip(self.conv(x).relu())

    model, image = Chain(4), torch.randn(1, 3, 8, 8)
    with emitting(model):  # type: ignore[arg-type]
        exported = to_onnx(model, [image], ["x"], ["y"], {})
    cut = next(iter(cut_layers(exported)))
    y = model.conv(image)
    (found,) = ReferenceEvaluator(cut.model_for(image.shape)).run(None, {"x": image.numpy()})
    assert found.dtype == np.uint8 and found.max() <= 15
    np.testing.assert_array_equal(found, cut.expected(y.numpy().astype(np.float64)))


def test_codes_are_the_quantizers() -> None:
    quantizer = UniformQuantizer(4, symmetric=False, ch_axis=-3, num_channels=2)
    ranged(quantizer, torch.tensor([-1.0, -0.2]), torch.tensor([1.0, 3.0]))
    x = torch.randn(2, 2, 5, 5) * 3
    codes = Codes(quantizer.scale.numpy(), quantizer.zero_point.numpy(), 1, 0, 15)
    np.testing.assert_array_equal(codes.of(x.numpy()), quantizer.quantize(x).numpy())
