"""Several projections whose weights are stacked in one matrix."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules.layer import QuantLayer


class PackedLinear(nn.Linear):
    """``nn.Linear`` of which a call may compute some of the output features only.

    The projections of queries, keys and values are one matrix. Self-attention multiplies by the
    whole of it; where query, key and value differ, each has a call of its own.
    """

    def forward(self, input: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Output features ``start`` to ``stop`` (all) of ``input`` ``(..., in_features)``."""
        part = self.features(start, stop)
        bias = None if self.bias is None else self.bias[part]
        return F.linear(input, self.weight[part], bias)

    @staticmethod
    def features(start: int = 0, stop: int | None = None) -> slice:
        """Which output features a call with these arguments beside its input computes."""
        return slice(start, stop)


class QuantPackedLinear(QuantLayer, PackedLinear):
    """:class:`PackedLinear` on a quantized input with a quantized weight; the bias stays float."""
