"""How far the mean of each output channel of a layer is from the float model's."""

import torch
from mmengine.dist import all_gather_object
from torch import Tensor

from mmptq.engine.units.unit_data import Rest
from mmptq.engine.units.walk import OnCall
from mmptq.modules import PackedLinear, QuantLayer, out_channels


class MeanError:
    """Mean of float output minus quantized output over images, positions and calls.

    Sums are kept for each image, in float64, and added up in an order that does not depend on how
    many processes share the images.

    A layer with a quantizer behind it is watched there (its ``output``): a ReLU hides how far the
    mean is in front of it.

    Args:
        layer: The quantized layer whose outputs are handed in.
        num_images: Of this process.
    """

    def __init__(self, layer: QuantLayer, num_images: int) -> None:
        self._layer = layer
        shape = num_images, out_channels(layer)
        self._sums = torch.zeros(shape, dtype=torch.float64)
        self._counts = torch.zeros(shape, dtype=torch.int64)

    def add_float(self) -> OnCall:
        """Takes outputs of the float layer."""
        return self._adder(1.0)

    def add_quantized(self) -> OnCall:
        """Takes outputs of the quantized layer, in as many calls."""
        return self._adder(-1.0)

    def mean(self) -> Tensor:
        """``(out_channels,)`` in float64 over all processes; 0 for a channel that never ran."""
        parts = all_gather_object((self._sums, self._counts))
        sums, counts = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return sums.sort(dim=0).values.sum(0) / counts.sum(0).clamp(min=1)

    def _adder(self, sign: float) -> OnCall:
        # A linear layer's channels come last, a convolution's before the height and width.
        axis = 1 - self._layer.weight.dim()

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            part = slice(None)
            y = y if self._layer.output is None else x
            if isinstance(self._layer, PackedLinear):
                part = self._layer.features(*rest[0], **dict(rest[1]))
            rows = y.movedim(axis, -1).flatten(end_dim=-2) if y.dim() > 1 else y[None]
            self._sums[image, part] += sign * rows.sum(0, dtype=torch.float64).cpu()
            if sign > 0.0:
                self._counts[image, part] += len(rows)

        return on_call
