"""What reads a layer's output through a quantizer."""

import torch
from torch import nn

from mmptq.modules import OUTPUTS, Operand, QuantConv2d
from mmptq.quantizers import UniformQuantizer


def layer(kind: str) -> QuantConv2d:
    torch.manual_seed(0)
    conv = QuantConv2d.from_float(nn.Conv2d(3, 4, 3))
    conv.output = OUTPUTS[kind].from_float(Operand())
    return conv


def test_it_reads_what_the_layer_computes() -> None:
    x = torch.randn(2, 3, 8, 8)
    for kind, expected in (("quantized output", lambda y: y), ("quantized ReLU", torch.relu)):
        made = layer(kind)
        y = nn.functional.conv2d(x, made.weight, made.bias)
        assert torch.equal(made(x), expected(y))
        quantizer = UniformQuantizer(4.0, symmetric=False)
        quantizer.set_range(torch.tensor(-0.5), torch.tensor(1.0))
        quantizer.enabled = True
        made.output.bind_inputs([None, quantizer])
        assert torch.equal(made(x), quantizer(expected(y)))  # the second call
        made.output.reset_calls()
        assert torch.equal(made(x), expected(y))


def test_others_write_to_what_it_gives() -> None:
    """As ReLUs compute in place, also where gradients are needed."""
    x, gradients = torch.randn(1, 3, 6, 6), []
    for in_place in (False, True):
        made = layer("quantized ReLU")
        y = made(x)
        y = y.relu_() if in_place else y.relu()
        y.square().sum().backward()
        gradients.append(made.weight.grad)
    assert torch.equal(*gradients)


def test_its_quantizer_is_in_the_layers_state() -> None:
    made = layer("quantized output")
    made.output.input_quantizers.append(UniformQuantizer(8.0, symmetric=True))
    assert "output.input_quantizers.0.scale" in made.state_dict()
