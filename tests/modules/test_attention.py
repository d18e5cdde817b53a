"""The products of attention against torch, and against numbers worked out by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules import AttentionProduct, QuantOperand, product_macs, replace_module, to_quantized
from mmptq.quantizers import UniformQuantizer

OPERANDS = ("query", "key", "probs", "value")


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1)


def keep(x: Tensor) -> Tensor:
    return x


def quantized_product(ranges: dict[str, tuple[float, float]], bits: float) -> AttentionProduct:
    product = AttentionProduct()
    for name in OPERANDS:
        operand = to_quantized(product.get_submodule(name))
        replace_module(product, product.get_submodule(name), operand)
        if name in ranges:
            low, high = (torch.tensor(bound) for bound in ranges[name])
            quantizer = UniformQuantizer(bits, symmetric=False)
            quantizer.set_range(low, high)
            operand.bind_inputs([quantizer])
    return product


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 5, 4), torch.randn(3, 6, 4), torch.randn(3, 6, 7)


def test_float_operands_are_torchs_attention() -> None:
    q, k, v = inputs()
    output, probs = AttentionProduct()(q, k, v, scores, keep)
    assert probs is not None
    torch.testing.assert_close(output, F.scaled_dot_product_attention(q, k, v, scale=1.0))
    assert torch.equal(output, torch.bmm(torch.bmm(q, k.mT).softmax(-1), v))
    assert torch.equal(probs, torch.bmm(q, k.mT).softmax(-1))


def test_quantized_operands_by_hand() -> None:
    """Four bits: steps of 0.08 for the probabilities, of 0.25 for the keys, of 0.5 for the rest.

    The query (0.6, 0.6) is read as (0.5, 0.5), the keys (1.1, 0.2) and (0.2, 1.1) as (1, 0.25) and
    (0.25, 1): both scores are 0.625, both probabilities a half, which is 6.25 steps and read as 6,
    0.48. The values 0.9 and -1.3 are read as 1 and -1.5: the output is (1 - 1.5) * 0.48.
    """
    ranges = {"query": (-3.5, 4.0), "key": (-1.25, 2.5), "probs": (0.0, 1.2), "value": (-3.5, 4.0)}
    product = quantized_product(ranges, bits=4)
    q, k = torch.tensor([[[0.6, 0.6]]]), torch.tensor([[[1.1, 0.2], [0.2, 1.1]]])
    v = torch.tensor([[[0.9], [-1.3]]])
    output, probs = product(q, k, v, scores, keep)
    torch.testing.assert_close(probs, torch.full((1, 1, 2), 0.48))
    torch.testing.assert_close(output, torch.tensor([[[-0.24]]]))


def test_quantized_operands_are_torchs_fake_quantized_ones() -> None:
    q, k, v = inputs()
    # Steps that are powers of two: torch multiplies by 1 / scale, so ties would differ.
    ranges = {"query": (-1.75, 2.0), "key": (-1.0, 2.75), "probs": (0.0, 0.9375)}
    product = quantized_product({**ranges, "value": (-1.75, 2.0)}, bits=4)
    fake = torch.fake_quantize_per_tensor_affine
    expected = torch.bmm(fake(q, 0.25, 7, 0, 15), fake(k, 0.25, 4, 0, 15).mT).softmax(-1)
    expected = torch.bmm(fake(expected, 0.0625, 0, 0, 15), fake(v, 0.25, 7, 0, 15))
    torch.testing.assert_close(product(q, k, v, scores, keep)[0], expected)


def test_sixteen_bits_are_nearly_float() -> None:
    q, k, v = inputs()
    seen = {"query": q, "key": k, "value": v}
    ranges = {name: (float(t.min()), float(t.max())) for name, t in seen.items()}
    ranges["probs"] = (0.0, 1.0)
    exact, _ = AttentionProduct()(q, k, v, scores, keep)
    output, _ = quantized_product(ranges, bits=16)(q, k, v, scores, keep)
    assert 0 < float((output - exact).norm() / exact.norm()) < 1e-3


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.full((*q.shape[:-1], v.shape[-1]), 7.0)


@pytest.mark.parametrize("case", ["off", "probs", "value", "hook", "grad"])
def test_the_fused_kernel_is_used_where_nobody_needs_the_probabilities(case: str) -> None:
    q, k, v = inputs()
    reader = {"probs": {"probs": (0.0, 1.0)}, "value": {"value": (-2.0, 2.0)}}.get(case, {})
    product = quantized_product(reader, bits=8)
    if case == "hook":
        product.probs.register_forward_pre_hook(lambda *_: None)
    with torch.set_grad_enabled(case == "grad"):
        output, probs = product(q, k, v, scores, keep, fused)
    assert probs is None and bool((output == 7.0).all()) == (case in ("off", "value"))
    for name in OPERANDS:
        operand = product.get_submodule(name)
        assert isinstance(operand, QuantOperand) and operand.calls == 1


def test_an_operand_has_no_weight_and_keeps_no_state() -> None:
    operand = quantized_product({}, bits=8).get_submodule("query")
    assert isinstance(operand, QuantOperand)
    assert operand.state_dict() == {} and operand.weight.numel() == 0
    assert torch.equal(operand.quantized_weight(), operand.weight)
    x = torch.randn(2, 3, requires_grad=True)
    y = operand(x)
    assert torch.equal(x, y) and y.grad_fn is not None


@pytest.mark.parametrize("shapes", [((3, 5, 4), (3, 6, 4), (3, 6, 7)), ((2, 2, 1, 8),) * 3])
def test_macs(shapes: tuple[tuple[int, ...], ...]) -> None:
    """Against torch's own count of floating-point operations, two for each."""
    from torch.utils.flop_counter import FlopCounterMode

    q, k, v = (torch.randn(shape) for shape in shapes)
    found = []
    products: list[Callable[[], Tensor]] = [
        lambda: torch.matmul(q, k.mT),
        lambda: torch.matmul(torch.matmul(q, k.mT), v),
    ]
    for product in products:
        with FlopCounterMode(display=False) as counter:
            product()
        found.append(counter.get_total_flops() // 2)
    assert product_macs(q, k, v) == (found[0], found[1] - found[0])


def test_gradients_flow_through_all_operands() -> None:
    q, k, v = (t.requires_grad_() for t in inputs())
    ranges = {"query": (-3.0, 3.0), "key": (-3.0, 3.0), "probs": (0.0, 1.0), "value": (-3.0, 3.0)}
    quantized_product(ranges, bits=6)(q, k, v, scores, nn.Identity())[0].sum().backward()
    assert all(t.grad is not None and bool((t.grad != 0).any()) for t in (q, k, v))
