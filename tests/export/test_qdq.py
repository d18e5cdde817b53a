"""What quantizers leave in a graph computes what they compute; checked by ONNX's own evaluator."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from mmptq.export.graph import pack_int4, to_onnx  # noqa: E402
from mmptq.export.qdq import emitting  # noqa: E402
from mmptq.modules import QuantLayer, to_quantized  # noqa: E402
from mmptq.quantizers import SignedQuantizer, UniformQuantizer  # noqa: E402


class OneLayer(nn.Module):
    """As far as an export looks at a quantized model."""

    def __init__(self, layer: nn.Module, site: UniformQuantizer, weight: UniformQuantizer) -> None:
        super().__init__()
        self.layer: Any = to_quantized(layer)
        self.layer.weight_quantizer = weight
        self.layer.input_quantizers.append(site)
        self.layer.bind_inputs([site])
        self.sites = {"layer:0": site}

    def quant_layers(self) -> list[tuple[str, QuantLayer]]:
        return [("layer", self.layer)]

    def forward(self, x: Tensor) -> Tensor:
        self.layer.reset_calls()
        return self.layer(x)


def ranged(quantizer: UniformQuantizer, low: Any, high: Any) -> UniformQuantizer:
    shape = quantizer.scale.shape
    quantizer.set_range(
        *(torch.as_tensor(v, dtype=torch.float32).expand(shape) for v in (low, high))
    )
    return quantizer


def weight_quantizer(layer: Any, bits: int, **kind: Any) -> UniformQuantizer:
    quantizer = UniformQuantizer(bits, ch_axis=0, num_channels=len(layer.weight), **kind)
    rows = layer.weight.detach().flatten(1)
    quantizer.set_range(rows.amin(1), rows.amax(1))
    return quantizer


def check(model: OneLayer, x: Tensor) -> Any:
    """The graph's and the simulation's outputs are equal; returns the graph."""
    with torch.no_grad():
        expected = model(x).numpy()
    with emitting(model):  # type: ignore[arg-type]
        exported = to_onnx(model, [x], ["x"], ["y"], {"x": {0: "n"}, "y": {0: "n"}})
    onnx.checker.check_model(exported)
    for graph in (exported, packed(exported)):
        (found,) = ReferenceEvaluator(graph).run(None, {"x": x.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    with torch.no_grad():  # nothing stays behind
        assert torch.equal(model(x), torch.from_numpy(expected))
    return exported


def packed(exported: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(exported)
    pack_int4(copy)
    onnx.checker.check_model(copy)
    return copy


SITES = {
    "affine": lambda bits: ranged(UniformQuantizer(bits, symmetric=False), -1.0, 2.5),
    "symmetric": lambda bits: ranged(UniformQuantizer(bits), -2.0, 2.0),
    "behind a relu": lambda bits: ranged(UniformQuantizer(bits), 0.0, 2.0),
    "signed": lambda bits: ranged(SignedQuantizer(bits), 0.0, 2.0),
}


@pytest.mark.parametrize("bits", [2, 4, 7, 8])
@pytest.mark.parametrize("site", SITES)
def test_convolutions(site: str, bits: int) -> None:
    torch.manual_seed(bits)
    conv = nn.Conv2d(4, 6, 3, padding=1, stride=2)
    model = OneLayer(conv, SITES[site](bits), weight_quantizer(conv, bits))
    exported = check(model, torch.randn(2, 4, 9, 9) * 2)
    assert sum(n.op_type == "QuantizeLinear" for n in exported.graph.node) == 1
    clips = sum(node.op_type == "Clip" for node in exported.graph.node)
    assert clips == (bits < 8)


def test_linear_layers_and_affine_weights() -> None:
    linear = nn.Linear(5, 3)
    site = ranged(UniformQuantizer(8, symmetric=False), -3.0, 3.0)
    model = OneLayer(linear, site, weight_quantizer(linear, 4, symmetric=False))
    check(model, torch.randn(2, 7, 5))


def test_a_range_per_channel() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    site = UniformQuantizer(8, symmetric=False, ch_axis=-3, num_channels=4)
    ranged(site, torch.tensor([-1.0, -0.1, 0.0, -5.0]), torch.tensor([1.0, 8.0, 0.5, 0.0]))
    model = OneLayer(conv, site, weight_quantizer(conv, 8))
    exported = check(model, torch.randn(2, 4, 9, 9) * 2)
    node = next(n for n in exported.graph.node if n.op_type == "QuantizeLinear")
    assert [a.i for a in node.attribute if a.name == "axis"] == [1]


def test_a_bias_correction_is_part_of_the_bias() -> None:
    for bias in (True, False):
        conv = nn.Conv2d(2, 3, 1, bias=bias)
        model = OneLayer(conv, SITES["affine"](8), weight_quantizer(conv, 8))
        model.layer.set_bias_correction(torch.tensor([1.0, -2.0, 0.5]))
        exported = check(model, torch.randn(1, 2, 4, 4))
        assert all(node.op_type != "Add" for node in exported.graph.node)


def test_a_quantizer_that_is_off_leaves_nothing() -> None:
    conv = nn.Conv2d(2, 3, 1)
    model = OneLayer(conv, SITES["affine"](8), weight_quantizer(conv, 8))
    model.layer.weight_quantizer.enabled = model.sites["layer:0"].enabled = False
    exported = check(model, torch.randn(1, 2, 4, 4))
    assert [node.op_type for node in exported.graph.node] == ["Conv"]


def test_weights_are_stored_as_integers_once() -> None:
    class Twice(OneLayer):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.layer(x * 2)

    conv = nn.Conv2d(16, 32, 3)
    model = Twice(conv, SITES["affine"](8), weight_quantizer(conv, 8))
    exported = check(model, torch.randn(1, 16, 9, 9))
    codes = [t for t in exported.graph.initializer if list(t.dims) == [32, 16, 3, 3]]
    assert [t.data_type for t in codes] == [onnx.TensorProto.INT8]
