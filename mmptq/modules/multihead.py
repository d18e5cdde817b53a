"""``nn.MultiheadAttention`` taken apart into layers that can be quantized."""

import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules.attention import AttentionProduct
from mmptq.modules.packed_linear import PackedLinear


class ExpandedMultiheadAttention(nn.Module):
    """``nn.MultiheadAttention`` with projections and products as modules of their own.

    It shares the original's parameters and computes what the original does outside of its fused
    inference kernel (``torch.backends.mha``), in the same order of operations, bit for bit.
    """

    # nn.TransformerEncoderLayer reads it: without a bias of this name it calls its modules one by
    # one, in place of a fused kernel that would read their float weights past their quantizers.
    in_proj_bias: None = None

    # The projections: one packed layer, or three where keys or values have a size of their own.
    in_proj: nn.Module
    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    out_proj: nn.Module

    def __init__(self, embed_dim: int, num_heads: int, dropout: float, batch_first: bool) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.head_dim, self.batch_first = embed_dim // num_heads, batch_first
        self._qkv_same_embed_dim = True
        self.product = AttentionProduct()

    @staticmethod
    def handles(attention: nn.MultiheadAttention) -> bool:
        """Whether ``attention`` has a counterpart (all but ``add_bias_kv``, ``add_zero_attn``)."""
        return attention.bias_k is None and not attention.add_zero_attn

    @classmethod
    def from_float(cls, attention: nn.MultiheadAttention) -> "ExpandedMultiheadAttention":
        """Make one that shares the parameters of ``attention``."""
        a = attention
        new = cls(a.embed_dim, a.num_heads, a.dropout, a.batch_first)
        new._qkv_same_embed_dim = a._qkv_same_embed_dim
        if a._qkv_same_embed_dim:
            new.in_proj = _linear(cast(Tensor, a.in_proj_weight), a.in_proj_bias, PackedLinear)
        else:
            biases = (None,) * 3 if a.in_proj_bias is None else a.in_proj_bias.chunk(3)
            for name, bias in zip(("q_proj", "k_proj", "v_proj"), biases, strict=True):
                own = None if bias is None else nn.Parameter(bias.detach(), bias.requires_grad)
                new.add_module(name, _linear(getattr(a, f"{name}_weight"), own, nn.Linear))
        new.out_proj = _linear(a.out_proj.weight, a.out_proj.bias, nn.Linear)
        return new.train(a.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As :meth:`torch.nn.MultiheadAttention.forward`.

        The weights that are returned are those that the values are multiplied by.

        Raises:
            ValueError: ``is_causal`` without ``attn_mask``.
        """
        if is_causal and attn_mask is None:
            raise ValueError("is_causal is a hint about attn_mask, which is missing")
        batched = query.dim() == 3
        x = (query, key, value)
        if batched and self.batch_first:
            x = _each(x, lambda t: t.transpose(0, 1))
        elif not batched:
            x = _each(x, lambda t: t.unsqueeze(1))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        length, batch, _ = x[0].shape
        mask = self._mask(attn_mask, key_padding_mask, batch, x[0].dtype)
        q, k, v = (self._split_heads(t) for t in self._project(*x))
        drop = partial(F.dropout, p=self.dropout, training=self.training)
        # The mask of a causal kernel is in the kernel.
        causal = is_causal and key_padding_mask is None and not need_weights
        fused = None if need_weights else partial(self._fused, mask=mask, causal=causal)
        output, probs = self.product(q, k, v, partial(_scores, mask=mask), drop, fused)
        output = output.transpose(0, 1).reshape(length * batch, self.embed_dim)
        output = self.out_proj(output).view(length, batch, -1)
        if probs is not None:
            probs = probs.view(batch, self.num_heads, length, -1)
            probs = probs.mean(dim=1) if average_attn_weights else probs
        if not batched:
            return output.squeeze(1), None if probs is None else probs.squeeze(0)
        return output.transpose(0, 1) if self.batch_first else output, probs

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Projections ``(L, N, E)``, multiplied in as few parts as the original does."""
        size = self.embed_dim
        if not self._qkv_same_embed_dim:
            return self.q_proj(query), self.k_proj(key), self.v_proj(value)
        if query is key and key is value:
            return self.in_proj(query).chunk(3, dim=-1)
        q = self.in_proj(query, 0, size)
        if key is value:
            return (q, *self.in_proj(key, size, None).chunk(2, dim=-1))
        return q, self.in_proj(key, size, 2 * size), self.in_proj(value, 2 * size, None)

    def _split_heads(self, x: Tensor) -> Tensor:
        """``(L, N, E)`` to ``(N * heads, L, d)``."""
        length, batch, _ = x.shape
        x = x.contiguous().view(length, batch * self.num_heads, self.head_dim)
        return x.transpose(0, 1)

    def _mask(
        self, mask: Tensor | None, padding: Tensor | None, batch: int, dtype: torch.dtype
    ) -> Tensor | None:
        """What is added to the scores: ``(1 or N * heads, L or 1, S)``."""
        if mask is not None:
            mask = _additive(mask, dtype)
            mask = mask.unsqueeze(0) if mask.dim() == 2 else mask
        if padding is None:
            return mask
        shape = (batch, self.num_heads, 1, padding.shape[-1])
        padding = _additive(padding, dtype)[:, None, None].expand(shape).flatten(0, 1)
        return padding if mask is None else mask + padding

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        q, k, v = (t.unflatten(0, (-1, self.num_heads)) for t in (q, k, v))
        if causal:
            mask = None
        elif mask is not None:
            mask = mask[None] if len(mask) == 1 else mask.unflatten(0, (-1, self.num_heads))
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal).flatten(0, 1)


def _linear(weight: Tensor, bias: Tensor | None, cls: type[nn.Linear]) -> nn.Linear:
    """A layer that holds these parameters."""
    layer = cls(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = cast(nn.Parameter, weight)
    layer.bias = cast(nn.Parameter, bias)
    return layer


def _scores(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    q = q * math.sqrt(1.0 / q.shape[-1])
    if mask is None:
        return torch.bmm(q, k.transpose(-2, -1))
    return torch.baddbmm(mask, q, k.transpose(-2, -1))


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask whose true elements are left out, as what is added to the scores."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)


def _each(
    tensors: tuple[Tensor, Tensor, Tensor], function: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """``function`` of each; what was one tensor stays one."""
    done: dict[int, Tensor] = {}
    q, k, v = (done.setdefault(id(t), function(t)) for t in tensors)
    return q, k, v
