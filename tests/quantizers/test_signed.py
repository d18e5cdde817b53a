"""Codes are signed whatever the range."""

import torch

from mmptq.algorithms.range_calibration import set_range
from mmptq.observers import LpNormObserver, WeightStatistics
from mmptq.quantizers import SignedQuantizer, UniformQuantizer
from mmptq.registry import QUANTIZERS


def test_behind_a_relu_half_of_the_codes_are_unused() -> None:
    x = torch.linspace(0, 2, 1000)
    signed, usual = SignedQuantizer(8), UniformQuantizer(8)
    for quantizer in (signed, usual):
        set_range(quantizer, LpNormObserver(2.0), WeightStatistics(x, None))
    assert signed.scheme.signed and not usual.scheme.signed
    codes = signed.quantize(x)
    assert (float(codes.min()), float(codes.max())) == (0.0, 127.0)
    wanted = torch.fake_quantize_per_tensor_affine(x, float(signed.scale), 0, -128, 127)
    assert torch.equal(signed(x), wanted)
    assert float(signed.scale / usual.scale) > 1.9


def test_reloaded_it_is_the_same() -> None:
    assert QUANTIZERS.get("SignedQuantizer") is SignedQuantizer
    first, second = SignedQuantizer(8), SignedQuantizer(8)
    first.set_range(torch.tensor(0.0), torch.tensor(3.0))
    second.load_state_dict(first.state_dict())
    x = torch.randn(50)
    assert torch.equal(first(x), second(x)) and second.scheme == first.scheme


def test_affine_it_is_the_usual_one() -> None:
    quantizer = SignedQuantizer(4, symmetric=False)
    quantizer.set_range(torch.tensor(-1.0), torch.tensor(2.0))
    assert not quantizer.scheme.signed and quantizer.scheme.bounds == (0.0, 15.0)
