"""The expanded form of nn.MultiheadAttention against torch's, bit for bit."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.modules import (
    ExpandedMultiheadAttention,
    PackedLinear,
    QuantPackedLinear,
    expand_modules,
    expanded_modules,
    to_quantized,
)
from mmptq.quantizers import UniformQuantizer

E, HEADS, N, L, S = 12, 4, 2, 5, 7


@pytest.fixture(autouse=True)
def regular_path() -> Iterator[None]:
    """Torch's fused inference kernel rounds differently; compare with the regular operations."""
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def attention(**kwargs: Any) -> nn.MultiheadAttention:
    module = nn.MultiheadAttention(E, HEADS, **kwargs).eval()
    if module.in_proj_bias is not None:
        nn.init.normal_(module.in_proj_bias)
        nn.init.normal_(module.out_proj.bias)
    return module


def same(a: tuple[Tensor, Tensor | None], b: tuple[Tensor, Tensor | None]) -> bool:
    if a[1] is None or b[1] is None:
        return torch.equal(a[0], b[0]) and a[1] is b[1]
    return torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def tensors(reads: str, batch_first: bool) -> list[Tensor]:
    """Query, key and value; equal letters are one tensor. The query is shorter where it differs."""
    lengths = {letter: S for letter in reads}
    lengths[reads[0]] = S if reads.count(reads[0]) == 3 else L
    found = {
        c: torch.randn(N, n, E) if batch_first else torch.randn(n, N, E) for c, n in lengths.items()
    }
    return [found[c] for c in reads]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("reads", ["aaa", "abb", "abc"])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_it_is_torchs(reads: str, batch_first: bool, need_weights: bool, bias: bool) -> None:
    original = attention(batch_first=batch_first, bias=bias)
    expanded = ExpandedMultiheadAttention.from_float(original)
    x = tensors(reads, batch_first)
    expected = original(*x, need_weights=need_weights)
    assert same(expanded(*x, need_weights=need_weights), expected)


@pytest.mark.parametrize("need_weights", [True, False])
@torch.no_grad()
def test_masks(need_weights: bool) -> None:
    original = attention()
    expanded = ExpandedMultiheadAttention.from_float(original)
    x = tensors("aaa", False)
    padding = torch.zeros(N, S, dtype=torch.bool)
    padding[1, 4:] = True
    causal = nn.Transformer.generate_square_subsequent_mask(S)
    for kwargs in (
        dict(attn_mask=causal),
        dict(attn_mask=causal, is_causal=True),
        dict(attn_mask=causal == -torch.inf),
        dict(attn_mask=torch.randn(N * HEADS, S, S)),
        dict(key_padding_mask=padding),
        dict(key_padding_mask=padding, attn_mask=causal == -torch.inf, is_causal=True),
        dict(key_padding_mask=torch.randn(N, S), attn_mask=causal),
    ):
        expected = original(*x, need_weights=need_weights, **kwargs)
        assert same(expanded(*x, need_weights=need_weights, **kwargs), expected), kwargs
    with pytest.raises(ValueError, match="attn_mask"):
        expanded(*x, is_causal=True)


@torch.no_grad()
def test_other_arguments() -> None:
    original = attention()
    expanded = ExpandedMultiheadAttention.from_float(original)
    x = tensors("aaa", False)
    assert same(expanded(*x, average_attn_weights=False), original(*x, average_attn_weights=False))
    one = [t[:, 0] for t in tensors("abb", False)]
    padding = torch.arange(S) > 4
    for kwargs in (dict(), dict(need_weights=False), dict(key_padding_mask=padding)):
        assert same(expanded(*one, **kwargs), original(*one, **kwargs)), kwargs


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_keys_and_values_of_other_sizes(bias: bool) -> None:
    original = attention(kdim=6, vdim=10, bias=bias)
    expanded = ExpandedMultiheadAttention.from_float(original)
    x = torch.randn(L, N, E), torch.randn(S, N, 6), torch.randn(S, N, 10)
    assert same(expanded(*x), original(*x))
    assert expanded.k_proj.weight is original.k_proj_weight


def test_gradients_are_the_originals() -> None:
    original = attention()
    expanded = ExpandedMultiheadAttention.from_float(original)
    (x, *_) = tensors("aaa", False)
    grads = []
    for module in (original, expanded):
        x = x.detach().requires_grad_()
        module(x, x, x)[0].square().sum().backward()
        assert x.grad is not None
        grads.append((x.grad, original.in_proj_weight.grad))
        original.in_proj_weight.grad = None
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_the_fused_inference_kernel_is_the_same_up_to_rounding() -> None:
    original = attention(batch_first=True)
    x = tensors("aaa", True)
    torch.backends.mha.set_fastpath_enabled(True)
    with torch.no_grad():
        expected, _ = original(*x)
        found, _ = ExpandedMultiheadAttention.from_float(original)(*x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_transformer_encoder_layers_do_not_read_past_the_quantizers() -> None:
    torch.backends.mha.set_fastpath_enabled(True)
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(E, HEADS, 16, batch_first=True), 2, enable_nested_tensor=False
    ).eval()
    x = torch.randn(N, L, E)
    expected = model(x)
    pairs = expand_modules(model)
    assert len(pairs) == 2
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        model.layers[0].self_attn.product.value.forward = torch.zeros_like
    assert not torch.allclose(model(x), expected, atol=1e-3)


def test_expanding_for_a_while() -> None:
    model = nn.ModuleDict(
        {
            "attn": attention(),
            "bias_kv": attention(add_bias_kv=True),
            "zero": attention(add_zero_attn=True),
            "linear": nn.Linear(2, 2),
        }
    )
    modules = dict(model.named_modules())
    state = list(model.state_dict())
    with expanded_modules(model):
        assert isinstance(model["attn"], ExpandedMultiheadAttention)
        assert isinstance(model["attn"].in_proj, PackedLinear)
        assert model["attn"].in_proj.weight is modules["attn"].in_proj_weight
        assert model["bias_kv"] is modules["bias_kv"] and model["zero"] is modules["zero"]
    assert dict(model.named_modules()) == modules and list(model.state_dict()) == state


# --- PackedLinear -------------------------------------------------------------------------------


@torch.no_grad()
def test_a_packed_layer_is_its_parts() -> None:
    packed = PackedLinear(4, 9)
    x = torch.randn(3, 4)
    whole = nn.functional.linear(x, packed.weight, packed.bias)
    assert torch.equal(packed(x), whole)
    part = nn.functional.linear(x, packed.weight[2:5], packed.bias[2:5])
    assert torch.equal(packed(x, 2, 5), part)
    quantized = to_quantized(packed)
    assert isinstance(quantized, QuantPackedLinear)
    assert torch.equal(quantized(x, 2, 5), part) and torch.equal(quantized(x), whole)


@torch.no_grad()
def test_a_quantized_packed_layer_by_hand() -> None:
    """Three channels with 4-bit weights: the steps are 1/4, 1/2 and 1, the input's is 1/2."""
    layer = to_quantized(PackedLinear(2, 3, bias=False))
    layer.weight.copy_(torch.tensor([[0.9, -0.3], [0.8, 3.0], [-5.2, 9.0]]))
    quantizer = UniformQuantizer(4, ch_axis=0, num_channels=3)
    steps = torch.tensor([0.25, 0.5, 1.0])
    quantizer.set_range(-7.5 * steps, 7.5 * steps)
    layer.weight_quantizer = quantizer
    reader = UniformQuantizer(4, symmetric=False)
    reader.set_range(torch.tensor(-3.5), torch.tensor(4.0))
    layer.bind_inputs([reader])
    x = torch.tensor([[0.7, -1.2]])  # read as 0.5 and -1.0
    # Weights: (1.0, -0.25), (1.0, 3.0), (-5.0, 7.0)
    assert layer(x).tolist() == [[0.75, -2.5, -9.5]]
    assert layer(x, 1, 3).tolist() == [[-2.5, -9.5]]


@pytest.mark.parametrize("reads", ["aaa", "abb"])
@torch.no_grad()
def test_sixteen_bits_are_nearly_float(reads: str) -> None:
    original = attention()
    x = tensors(reads, False)
    expected, _ = original(*x)
    expanded = nn.ModuleDict({"attn": original})
    expand_modules(expanded)
    quantize_all(expanded, 16)
    found, _ = expanded["attn"](*x)
    assert 0 < float((found - expected).norm() / expected.norm()) < 1e-3


def quantize_all(model: nn.Module, bits: float) -> None:
    """Swap all layers of ``model``; weights by their own range, inputs in [-8, 8]."""
    from mmptq.models import quantizable_layers
    from mmptq.modules import replace_module

    for name in quantizable_layers(model):
        original = model.get_submodule(name)
        layer = to_quantized(original)
        if layer.weight.numel():
            layer.weight_quantizer = UniformQuantizer(
                bits, ch_axis=0, num_channels=len(layer.weight)
            )
            layer.weight_quantizer.set_range(layer.weight.amin(1), layer.weight.amax(1))
        reader = UniformQuantizer(bits, symmetric=False)
        reader.set_range(torch.tensor(-8.0), torch.tensor(8.0))
        layer.bind_inputs([reader])
        replace_module(model, original, layer)
