"""Tables of embeddings that are looked up by the number of a user or an item."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules.layer import QuantLayer


class EmbeddingTable(nn.Embedding):
    """``nn.Embedding`` whose rows are looked up by what the model is asked about.

    A class of its own, since the ``nn.Embedding`` of a detector (positions, queries) is a constant
    of its architecture and stays in float.
    """


class QuantEmbedding(QuantLayer, EmbeddingTable):
    """:class:`EmbeddingTable` with a quantized weight ``(rows, columns)``.

    What it reads are whole numbers, which nothing quantizes. It is a product with a one-hot vector:
    rows are its input channels, columns its output channels. No sum runs over several rows, so each
    may have a step of its own (``per_channel``).
    """

    def _product(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rows = F.embedding(x, self.weight)
        # A float table has no bias; a measured correction stands in its place.
        bias: Tensor | None = getattr(self, "bias", None)
        return rows if bias is None else rows + bias
