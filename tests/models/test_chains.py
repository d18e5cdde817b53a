"""Chains from layer to layers, and where the plan rounds biases by them."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.models import QConfig, build_plan
from mmptq.models.chains import Chain
from tests.models.test_links import Pair, conv, run


class Several(nn.Module):
    """A convolution whose output two others read; behind one of them an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(), conv(4, 4), conv(4, 4)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.a(x)).relu()
        return self.c(x) + self.b(x)


def test_chains_reach_from_layer_to_layers() -> None:
    assert run(Pair(F.relu)).chains == [
        Chain(("a", 0), (("b", 0),), relu=True),
        Chain(("b", 0), (), others=frozenset("?")),  # the model's output
    ]
    between: dict[Any, tuple[bool, set[str]]] = {
        F.silu: (False, {"Silu"}),
        F.leaky_relu: (False, {"LeakyRelu"}),
        (lambda x: F.max_pool2d(F.relu(x), 2)): (True, {"MaxPool2DWithIndices"}),
        (lambda x: x + F.relu(x)): (False, {"Add", "Relu"}),
        (lambda x: x + x.detach()): (False, {"Add", "?"}),
    }
    for function, (relu, others) in between.items():
        found = run(Pair(function)).chains[0]
        assert found == Chain(("a", 0), (), relu=relu, others=frozenset(others))
    chain = run(Several()).chains[0]
    assert chain == Chain(("a", 0), chain.readers, "norm", relu=True)
    assert set(chain.readers) == {("b", 0), ("c", 0)}


def test_chains_are_read_by_others_too() -> None:
    class Residual(Several):
        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.a(x)).relu()
            return x + self.b(x)

    chain = run(Residual()).chains[0]
    assert chain == Chain(("a", 0), (("b", 0),), "norm", relu=True, others=frozenset({"Add"}))


def test_the_plan_rounds_biases_where_a_runtime_fuses() -> None:
    model = Several().eval()
    model.a.bias = None  # the norm leaves one when it is folded
    for fold_bn, expected in ((True, (("a", 0),)), (False, ())):
        qconfig = QConfig.parse({"target": "onnxruntime", "fold_bn": fold_bn})
        assert build_plan(model, run(model), qconfig).int32_bias == expected
    unequal = [dict(pattern="b", act=dict(num_bits=4))]
    for outputs, expected in ((False, ()), (True, (("a", 0),))):
        target = dict(type="onnxruntime", quantize_outputs=outputs)
        other = QConfig.parse({"target": target, "overrides": unequal})
        assert build_plan(model, run(model), other).int32_bias == expected
    assert build_plan(model, run(model), QConfig.parse({"target": "openvino"})).int32_bias == ()
