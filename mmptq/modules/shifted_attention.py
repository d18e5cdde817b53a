"""torchvision's shifted window attention, with modules for what its function multiplies."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules.attention import AttentionProduct
from mmptq.modules.sharing import share

_MASKED = -100.0


class ExpandedShiftedWindowAttention(nn.Module):
    """torchvision's ``ShiftedWindowAttention``, of its Swin (not of Swin V2).

    The original hands the weights of its layers to a function, past any module. Here the layers run
    as modules, and the products' operands are modules. It has the original's parameters, buffers
    and modules under their names, and computes the same operations in the same order, bit for bit.
    """

    window_size: list[int]
    shift_size: list[int]
    num_heads: int
    attention_dropout: float
    dropout: float
    relative_position_bias_table: Tensor
    relative_position_index: Tensor
    qkv: nn.Module
    proj: nn.Module
    product: AttentionProduct

    @classmethod
    def from_float(cls, attention: nn.Module) -> "ExpandedShiftedWindowAttention":
        """Make one that shares the parameters and modules of ``attention``."""
        new = share(cls, attention)
        new.product = AttentionProduct().train(attention.training)
        return new

    def forward(self, x: Tensor) -> Tensor:
        """As the original's, of ``(N, H, W, C)``."""
        count, height, width, channels = x.shape
        rows, columns = self.window_size
        x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        size = (x.shape[1], x.shape[2])
        # Along an axis on which one window holds the whole map, nothing is shifted.
        down = 0 if rows >= size[0] else self.shift_size[0]
        right = 0 if columns >= size[1] else self.shift_size[1]
        if down or right:
            x = torch.roll(x, shifts=(-down, -right), dims=(1, 2))
        x = _windows(x, rows, columns).flatten(0, 2).flatten(1, 2)
        qkv = self.qkv(x).reshape(len(x), rows * columns, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mask = self._mask(x, size, down, right) if down or right else None
        drop = partial(F.dropout, p=self.attention_dropout, training=self.training)
        out, _ = self.product(q, k, v, partial(self._scores, mask=mask), drop)
        out = self.proj(out.transpose(1, 2).reshape(len(x), rows * columns, channels))
        out = F.dropout(out, p=self.dropout, training=self.training)
        out = out.view(count, size[0] // rows, size[1] // columns, rows, columns, channels)
        out = out.permute(0, 1, 3, 2, 4, 5).reshape(count, *size, channels)
        if down or right:
            out = torch.roll(out, shifts=(down, right), dims=(1, 2))
        return out[:, :height, :width, :].contiguous()

    def _scores(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + self._position_bias()
        if mask is None:
            return scores
        shape = scores.shape
        scores = scores.view(-1, len(mask), *shape[1:]) + mask[None, :, None]
        return scores.view(shape)

    def _position_bias(self) -> Tensor:
        """``(1, heads, L, L)`` from the table of relative positions."""
        length = self.window_size[0] * self.window_size[1]
        bias = self.relative_position_bias_table[self.relative_position_index]
        return bias.view(length, length, -1).permute(2, 0, 1).contiguous().unsqueeze(0)

    def _mask(self, x: Tensor, size: tuple[int, int], down: int, right: int) -> Tensor:
        """What keeps apart what the shift brought together: ``(windows, L, L)``."""
        part = x.new_zeros(size)
        rows, columns = self.window_size
        for i, vertical in enumerate(_parts(rows, down)):
            for j, horizontal in enumerate(_parts(columns, right)):
                part[vertical, horizontal] = 3 * i + j
        part = _windows(part[None, :, :, None], rows, columns).flatten(0, 2).flatten(1)
        apart = part.unsqueeze(1) != part.unsqueeze(2)
        return x.new_zeros(apart.shape).masked_fill(apart, _MASKED)


def _windows(x: Tensor, rows: int, columns: int) -> Tensor:
    """``(N, H, W, C)`` in windows: ``(N, H / rows, W / columns, rows, columns, C)``."""
    return x.unflatten(2, (-1, columns)).unflatten(1, (-1, rows)).permute(0, 1, 3, 2, 4, 5)


def _parts(window: int, shift: int) -> tuple[slice, slice, slice]:
    """The parts of an axis: whole windows, and the last one cut by the shift (0 cuts nothing)."""
    return slice(0, -window), slice(-window, -shift), slice(-shift, None)
