"""Second moments of what a layer reads, in the float model and in the quantized one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.nn import functional as F

from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.engine.units.unit_data import NOTHING, Rest
from mmptq.engine.units.walk import OnCall
from mmptq.errors import NumericalError
from mmptq.modules import QuantLayer

# How far the product of weight and patches may be from the layer's output, of the largest one.
_TOLERANCE = 1e-3
# Of sums in float32: a share of each, which the errors of as many inputs can add up to.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class Moments:
    r"""Moments of float inputs :math:`x` and quantized inputs :math:`\hat x`, around their means.

    Args:
        gram: Covariance of :math:`\hat x`, ``(blocks, K, K)``, positive definite.
        cross: Covariance of :math:`x` (rows) with :math:`\hat x`, ``(blocks, K, K)``.
        float_mean: ``(blocks, K)``.
        quant_mean: ``(blocks, K)``.
    """

    gram: Tensor
    cross: Tensor
    float_mean: Tensor
    quant_mean: Tensor


class InputMoments:
    """Gathers the moments of a layer's inputs over images, calls and positions.

    An input is what one output position reads: its patch. A sample of positions stands for all of
    an image. With patches as columns a convolution is a product of matrices, one for each group.

    A call's sums are rounded to float32 and added up in float64, which is exact unless they are of
    absurdly different size: how many processes share the images changes nothing.

    Args:
        layer: Whose calls are handed in, those of the float model first.
        positions: How many of an image are taken in a call, at most. A call on a map smaller than
            that of the first call takes fewer, in proportion.
        max_inputs: Longer patches are cut into blocks of at most this length, each with moments of
            its own.
        cache_gb: Memory in GiB for the float patches, until the quantized ones come.
        folder: Where those go that do not fit.

    Attributes:
        plain: Whether the layer is a product of its weight and its patches, as convolutions and
            linear layers are. Transposed and deformable convolutions and tables are not; they have
            no moments.
        blocks: How many there are (the layer's groups times the blocks of a patch), and their
            length.
    """

    def __init__(
        self,
        layer: QuantLayer,
        positions: int,
        max_inputs: int,
        cache_gb: float,
        folder: str | Path,
    ) -> None:
        self._layer, self._positions = layer, positions
        self._float = TensorStore(cache_gb, folder)
        no_product = isinstance(layer, nn.ConvTranspose2d | nn.Embedding)
        self.plain = layer.weight.dim() in (2, 4) and not no_product
        groups, inputs = getattr(layer, "groups", 1), layer.weight[0].numel()
        parts = next(n for n in range(-(-inputs // max_inputs), inputs + 1) if inputs % n == 0)
        self.blocks = groups * parts, inputs // parts
        self._finite = True
        self._first_size = 1  # of the output of the first call in this pass
        vector, matrix = self.blocks, (*self.blocks, self.blocks[1])
        sizes = ((), matrix, matrix, vector, vector) if self.plain else ()
        device = layer.weight.device
        # Count, products of quantized inputs, of float with quantized ones, sums of both.
        self._sums = [torch.zeros(size, dtype=torch.float64, device=device) for size in sizes]

    def add_float(self) -> OnCall:
        """Takes calls of the float layer."""

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            self._finite &= bool(y.isfinite().all())
            if not (self.plain and self._finite):
                return
            patches = self._patches(self._layer.divided(x), call)
            self.plain = rest == NOTHING and self._gives(patches, y)
            if self.plain:
                self._float.put((image, call), [patches])

        return on_call

    def add_quantized(self) -> OnCall:
        """Takes as many calls of the quantized layer."""

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            if not (self.plain and self._finite):
                return
            (patches,) = self._float.get((image, call))
            self._float.drop((image, call))
            reader = self._layer.reader(call)
            x = self._layer.divided(x)
            quant = self._patches(x if reader is None else reader(x), call)
            self._add(patches, quant)

        return on_call

    def moments(self) -> Moments | None:
        """Those of all processes; ``None`` where there are none.

        Raises:
            NumericalError: An input or output is not finite.
        """
        state = torch.tensor([self._finite, self.plain], dtype=torch.int64)
        all_reduce(state, "min")
        finite, plain = state.tolist()
        if finite and not plain:
            return None
        for total in self._sums if finite else ():
            all_reduce(total)
        if not finite or not all(bool(total.isfinite().all()) for total in self._sums):
            raise NumericalError("its outputs or inputs on the calibration images overflow")
        count, gram, cross, float_mean, quant_mean = self._sums
        if not bool(count):  # it never ran
            return None
        for total in self._sums[1:]:
            total /= count
        # Where an input hardly varies around a large mean, no more than rounding may be left.
        noise = _ROUNDING * self.blocks[1] * gram.diagonal(dim1=1, dim2=2).clone()
        gram -= quant_mean[:, :, None] * quant_mean[:, None, :]
        gram.diagonal(dim1=1, dim2=2).add_(noise)
        cross -= float_mean[:, :, None] * quant_mean[:, None, :]
        return Moments(gram, cross, float_mean, quant_mean)

    def _add(self, patches: Tensor, quant: Tensor) -> None:
        count = quant.new_tensor(float(quant.shape[-1]))
        # In float64: around a large mean a product in float32 leaves less than its rounding.
        x, q = patches.double(), quant.double()
        sums = [count, *(t.float() for t in (q @ q.mT, x @ q.mT, x.sum(-1), q.sum(-1)))]
        for total, part in zip(self._sums, sums, strict=True):
            total += part

    def _patches(self, x: Tensor, call: int) -> Tensor:
        """``(blocks, K, positions)`` of one image."""
        layer = self._layer
        if isinstance(layer, nn.Linear):
            rows = x.reshape(-1, layer.in_features)
            columns = rows[self._sample(len(rows), call)].mT
        else:
            geometry = _Geometry.of(layer, x[0])
            columns = geometry.patches(self._sample(geometry.positions, call).to(x.device))
        return columns.reshape(*self.blocks, -1)

    def _sample(self, size: int, call: int) -> Tensor:
        """Some of the indices below ``size``; for a size always the same ones."""
        if call == 0:
            self._first_size = max(size, 1)
        count = min(self._positions, -(-self._positions * size // self._first_size))
        self._sampled = torch.randperm(size, generator=torch.Generator().manual_seed(size))[:count]
        return self._sampled

    def _gives(self, patches: Tensor, output: Tensor) -> bool:
        """Whether the layer's float ``output`` is the product of its weight with ``patches``."""
        layer: Any = self._layer
        axis = -1 if isinstance(layer, nn.Linear) else -3
        rows = output.movedim(axis, -1).flatten(end_dim=-2)
        if not self._sampled.numel():  # no patch, as of regions where there are none
            return not len(rows)
        if len(rows) <= int(self._sampled.max()) or rows.shape[1] != len(layer.weight):
            return False
        rows = rows[self._sampled.to(rows.device)].mT
        groups = getattr(layer, "groups", 1)
        weight = layer.weight.reshape(groups, -1, layer.weight[0].numel())
        product = (weight @ patches.reshape(groups, weight.shape[-1], -1)).flatten(0, 1)
        if layer.bias is not None:
            product += layer.bias[:, None]
        return float((product - rows).abs().max()) <= _TOLERANCE * float(rows.abs().max())


@dataclass(frozen=True)
class _Geometry:
    """Where a convolution reads.

    Args:
        x: Padded input ``(C, H, W)``.
        kernel: Height and width.
        stride: The same.
        dilation: The same.
    """

    x: Tensor
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def of(cls, layer: Any, x: Tensor) -> "_Geometry":
        """Of ``layer`` on ``x`` ``(C, H, W)``."""
        above, beside = (0, 0) if isinstance(layer.padding, str) else layer.padding
        x = F.pad(x, (beside, beside, above, above))
        return cls(x, layer.kernel_size, layer.stride, layer.dilation)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the output."""
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        height, width = self.x.shape[1] - reach[0] - 1, self.x.shape[2] - reach[1] - 1
        return max(height // self.stride[0] + 1, 0), max(width // self.stride[1] + 1, 0)

    @property
    def positions(self) -> int:
        """How many outputs there are."""
        return self.size[0] * self.size[1]

    def patches(self, index: Tensor) -> Tensor:
        """What the outputs ``index`` read: ``(C, k*k, n)``."""
        rows, columns = (torch.arange(k, device=index.device)[:, None] for k in self.kernel)
        if not len(index):  # the kernel is larger than the input
            return self.x.new_empty(len(self.x), len(rows) * len(columns), 0)
        i = index // self.size[1] * self.stride[0] + rows * self.dilation[0]
        j = index % self.size[1] * self.stride[1] + columns * self.dilation[1]
        return self.x[:, i[:, None], j[None]].flatten(1, 2)
