"""Chains from layer to layers, and where the plan rounds biases by them."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.models import QConfig, build_plan
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
    relu = run(Pair(F.relu)).chains
    assert [(chain.writer, chain.readers) for chain in relu] == [(("a", 0), (("b", 0),))]
    for between in (F.silu, lambda x: F.max_pool2d(F.relu(x), 2), lambda x: x + F.relu(x)):
        assert run(Pair(between)).chains == []
    (chain,) = run(Several()).chains
    assert chain.writer == ("a", 0) and set(chain.readers) == {("b", 0), ("c", 0)}
    assert chain.norm == "norm"


def test_the_plan_rounds_biases_where_a_runtime_fuses() -> None:
    model = Several().eval()
    model.a.bias = None  # the norm leaves one when it is folded
    for fold_bn, expected in ((True, (("a", 0),)), (False, ())):
        qconfig = QConfig.parse({"target": "onnxruntime", "fold_bn": fold_bn})
        assert build_plan(model, run(model), qconfig).int32_bias == expected
    unequal = [dict(pattern="b", act=dict(num_bits=4))]
    other = QConfig.parse({"target": "onnxruntime", "overrides": unequal})
    assert build_plan(model, run(model), other).int32_bias == ()
    assert build_plan(model, run(model), QConfig.parse({"target": "openvino"})).int32_bias == ()
