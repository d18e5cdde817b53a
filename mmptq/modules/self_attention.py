"""Attention of a sequence to itself, as timm and mmpretrain compute it, with its operands."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules.attention import AttentionProduct
from mmptq.modules.sharing import share


class ExpandedTimmAttention(nn.Module):
    """timm's ``Attention`` (of its ViT, DeiT and others), with the products' operands as modules.

    It has the original's parameters and modules under their names, and computes the same operations
    in the same order, bit for bit, with the fused kernel or without.
    """

    num_heads: int
    scale: float
    fused_attn: bool
    qkv: nn.Module
    q_norm: nn.Module
    k_norm: nn.Module
    attn_drop: nn.Module
    proj: nn.Module
    proj_drop: nn.Module
    product: AttentionProduct

    @classmethod
    def from_float(cls, attention: nn.Module) -> "ExpandedTimmAttention":
        """Make one that shares the parameters and modules of ``attention``."""
        return _with_product(cls, attention)

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """As the original's.

        Args:
            x: ``(N, L, C)``.
            attn_mask: Added to the scores, or true where they count.
            is_causal: Nothing is read behind its own place; ``attn_mask`` is then not read.
        """
        # Newer versions of timm have both.
        gate, norm = (getattr(self, name, None) for name in ("gate", "norm"))
        gates = None if gate is None else gate(x).sigmoid()
        q, k, v = _split(self.qkv(x), self.num_heads)
        q, k = self.q_norm(q), self.k_norm(k)
        mask = _causal(x) if is_causal else attn_mask
        scores = partial(_scores, scale=self.scale, mask=_additive(mask, x.dtype))
        fused = partial(_fused, attn_mask=None if is_causal else attn_mask, is_causal=is_causal)
        out, _ = self.product(q, k, v, scores, self.attn_drop, fused if self.fused_attn else None)
        out = out.transpose(1, 2).flatten(2)
        out = out if norm is None else norm(out)
        return self.proj_drop(self.proj(out if gates is None else out * gates))


class ExpandedMmpretrainAttention(nn.Module):
    """mmpretrain's ``MultiheadAttention`` (of its ViT and DeiT), in the same way."""

    num_heads: int
    attn_drop: float
    v_shortcut: bool
    qkv: nn.Module
    proj: nn.Module
    proj_drop: nn.Module
    out_drop: nn.Module
    gamma1: nn.Module
    product: AttentionProduct

    @staticmethod
    def handles(attention: Any) -> bool:
        """Whether ``attention`` has a counterpart (all but those with a ``qk_scale``)."""
        return attention.scaled_dot_product_attention is F.scaled_dot_product_attention

    @classmethod
    def from_float(cls, attention: nn.Module) -> "ExpandedMmpretrainAttention":
        """Make one that shares the parameters and modules of ``attention``."""
        return _with_product(cls, attention)

    def forward(self, x: Tensor) -> Tensor:
        """As the original's, of ``(N, L, C)``."""
        q, k, v = _split(self.qkv(x), self.num_heads)
        scores = partial(_scores, scale=q.shape[-1] ** -0.5, mask=None)
        drop = partial(F.dropout, p=self.attn_drop, training=self.training)
        out, _ = self.product(q, k, v, scores, drop, _fused)
        out = self.proj(out.transpose(1, 2).flatten(2))
        out = self.out_drop(self.gamma1(self.proj_drop(out)))
        return v.squeeze(1) + out if self.v_shortcut else out


def _with_product(cls: Any, attention: nn.Module) -> Any:
    new = share(cls, attention)
    new.product = AttentionProduct().train(attention.training)
    return new


def _split(qkv: Tensor, heads: int) -> tuple[Tensor, ...]:
    """``(N, L, 3 * heads * d)`` to queries, keys and values ``(N, heads, L, d)``."""
    count, length, _ = qkv.shape
    return qkv.reshape(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _scores(q: Tensor, k: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    scores = (q * scale) @ k.transpose(-2, -1)
    return scores if mask is None else scores + mask


def _fused(q: Tensor, k: Tensor, v: Tensor, **kwargs: Any) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, **kwargs)


def _causal(x: Tensor) -> Tensor:
    """Which of the ``L`` places of ``x`` each of them reads: ``(L, L)``."""
    length = x.shape[1]
    return torch.ones(length, length, dtype=torch.bool, device=x.device).tril()


def _additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A mask whose true elements count, as what is added to the scores."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, float("-inf"))
