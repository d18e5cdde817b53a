"""The attention of Conditional DETR and DAB-DETR with products that can be quantized."""

import functools
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.modules.attention import AttentionProduct
from mmptq.modules.sharing import share


class ExpandedConditionalAttention(nn.Module):
    """Mixin before MMDetection's ``ConditionalAttention``: the products' operands as modules.

    Projections and the order of operations stay the original's, bit for bit.
    """

    num_heads: int
    attn_drop: nn.Module
    out_proj: nn.Module
    product: AttentionProduct

    @classmethod
    def from_float(cls, attention: nn.Module) -> nn.Module:
        """Make one that shares the parameters and modules of ``attention``."""
        original: Any = type(attention)
        new = share(_expanded(original), attention)
        new.product = AttentionProduct().train(attention.training)
        return new

    def forward_attn(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As the original's: ``(N, L, E)``, and the mean probabilities ``(N, L, S)``."""
        scores = partial(self._scores, mask=attn_mask, padding=key_padding_mask)
        q, k, v = (self._split_heads(x) for x in (query, key, value))
        output, probs = self.product(q, k, v, scores, self.attn_drop)
        assert probs is not None
        output = output.unflatten(0, (-1, self.num_heads)).permute(0, 2, 1, 3).flatten(2)
        by_head = probs.unflatten(0, (-1, self.num_heads))
        return self.out_proj(output), by_head.sum(dim=1) / self.num_heads

    def _split_heads(self, x: Tensor) -> Tensor:
        """``(N, L, E)`` to ``(N * heads, L, d)``."""
        return x.unflatten(-1, (self.num_heads, -1)).permute(0, 2, 1, 3).flatten(0, 1)

    def _scores(self, q: Tensor, k: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor:
        scores = torch.bmm(q * float(q.shape[-1]) ** -0.5, k.transpose(1, 2))
        if mask is not None:
            mask = mask.bool() if mask.dtype == torch.uint8 else mask
            hidden = mask.dtype == torch.bool
            scores = scores.masked_fill(mask, float("-inf")) if hidden else scores + mask
        if padding is not None:
            by_head = scores.unflatten(0, (-1, self.num_heads))
            by_head = by_head.masked_fill(padding.bool()[:, None, None], float("-inf"))
            scores = by_head.flatten(0, 1)
        return scores - scores.max(dim=-1, keepdim=True)[0]


@functools.cache
def _expanded(cls: Any) -> Any:
    return type(f"Expanded{cls.__name__}", (ExpandedConditionalAttention, cls), {})
