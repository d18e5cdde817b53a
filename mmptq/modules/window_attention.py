"""Swin's window attention with products that can be quantized."""

from functools import partial

from torch import Tensor, nn

from mmptq.modules.attention import AttentionProduct
from mmptq.modules.sharing import share


class ExpandedWindowMSA(nn.Module):
    """``WindowMSA`` of MMDetection and mmpretrain, and timm's ``WindowAttention``, taken apart.

    The products' operands are modules. It has the original's parameters, buffers and modules under
    their names, and computes the same operations in the same order, bit for bit (not as timm's
    experimental fused form does).
    """

    num_heads: int
    scale: float
    window_size: tuple[int, int]
    relative_position_bias_table: Tensor
    relative_position_index: Tensor
    qkv: nn.Module
    proj: nn.Module
    attn_drop: nn.Module
    proj_drop: nn.Module
    product: AttentionProduct

    @classmethod
    def from_float(cls, attention: nn.Module) -> "ExpandedWindowMSA":
        """Make one that shares the parameters and modules of ``attention``."""
        new = share(cls, attention)
        new.product = AttentionProduct().train(attention.training)
        return new

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """As the original's.

        Args:
            x: ``(windows * N, L, C)``.
            mask: ``(windows, L, L)``, added to the scores.
        """
        count, length, _ = x.shape
        heads = self.num_heads
        qkv = self.qkv(x).reshape(count, length, 3, heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out, _ = self.product(q, k, v, partial(self._scores, mask=mask), self.attn_drop)
        out = out.transpose(1, 2).reshape(count, length, -1)
        return self.proj_drop(self.proj(out))

    def _scores(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        scores = (q * self.scale) @ k.transpose(-2, -1)
        scores = scores + self._position_bias().unsqueeze(0)
        if mask is None:
            return scores
        windows, shape = len(mask), scores.shape
        scores = scores.unflatten(0, (-1, windows)) + mask[None, :, None]
        return scores.view(shape)

    def _position_bias(self) -> Tensor:
        """``(heads, L, L)`` from the table of relative positions."""
        index = self.relative_position_index
        length = self.window_size[0] * self.window_size[1]
        bias = self.relative_position_bias_table[index.view(-1)].view(length, length, -1)
        return bias.permute(2, 0, 1).contiguous()
