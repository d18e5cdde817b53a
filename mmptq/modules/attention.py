"""The matrix products of attention, with their operands as modules."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmptq.modules.layer import QuantLayer
from mmptq.modules.operand import Operand

Scores = Callable[[Tensor, Tensor], Tensor]
Fused = Callable[[Tensor, Tensor, Tensor], Tensor]


class AttentionProduct(nn.Module):
    r""":math:`\mathrm{softmax}(Q K^T + \ldots) V` with four operands that can be quantized.

    Queries, keys and values are read after their projections; a factor on the queries is applied
    behind the quantizer, which makes no difference to the levels. The probabilities are not
    negative, so that their quantizer's codes begin at 0. Softmax itself is computed in float.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = Operand(), Operand()
        self.probs, self.value = Operand(), Operand()

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scores: Scores,
        drop: Callable[[Tensor], Tensor],
        fused: Fused | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            q: ``(..., L, d)``.
            k: ``(..., S, d)``.
            v: ``(..., S, e)``.
            scores: Of ``q`` and ``k`` as they are read: ``(..., L, S)``, scaled, biased and masked.
            drop: Applied to the probabilities.
            fused: Computes the output at once from ``q``, ``k`` and ``v`` as they are read. Used
                where nobody needs the probabilities, lest the float form differ from the original
                by the rounding of another kernel.

        Returns:
            ``(..., L, e)``, and the probabilities ``(..., L, S)`` as they are read, ``None`` with
            ``fused`` given.
        """
        q, k = self.query(q), self.key(k)
        if fused is not None and not self._probs_needed():
            if isinstance(self.probs, QuantLayer):
                self.probs.skip_calls(1)
            return fused(q, k, self.value(v)), None
        probs = self.probs(drop(scores(q, k).softmax(dim=-1)))
        output = torch.matmul(probs, self.value(v))
        return output, None if fused is not None else probs

    def _probs_needed(self) -> bool:
        """Whether a quantizer, a hook or a trace of the operations wants the probabilities."""
        probs = self.probs
        if torch.is_grad_enabled() or probs._forward_pre_hooks or probs._forward_hooks:
            return True
        reader = probs.next_reader if isinstance(probs, QuantLayer) else None
        return reader is not None and reader.enabled


def product_macs(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, int]:
    """Multiply-accumulate operations of both products of :class:`AttentionProduct`."""
    scores = q.numel() // q.shape[-1] * k.shape[-2]
    return scores * q.shape[-1], scores * v.shape[-1]
