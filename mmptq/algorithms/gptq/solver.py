r"""Least squares over the weights of one layer, in closed form.

All functions take blocks that have no input in common (the groups of a convolution): weights
``(blocks, rows, K)`` and second moments of their inputs ``(blocks, K, K)``, in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_COLUMNS = 64  # rounded before what they leave is taken to the columns behind them


def damped_inverse(gram: Tensor, damp: float) -> Tensor:
    """Inverse of ``gram`` with ``damp`` of its mean diagonal added to the diagonal."""
    mean = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None]
    damped = gram.clone()
    # An input that is always 0 decides nothing.
    damped.diagonal(dim1=-2, dim2=-1).add_(torch.where(mean > 0, damp * mean, 1.0))
    return torch.cholesky_inverse(torch.linalg.cholesky(damped))


def matching_weight(weight: Tensor, gram: Tensor, cross: Tensor, inverse: Tensor) -> Tensor:
    r"""The weight that gives the float output from the quantized input.

    .. math:: \arg\min_T E \|T \hat x - W x\|^2 + \lambda \|T - W\|^2
              = W + W (E x \hat x^T - E \hat x \hat x^T) (E \hat x \hat x^T + \lambda I)^{-1}

    Args:
        weight: :math:`W`.
        gram: :math:`E \hat x \hat x^T`.
        cross: :math:`E x \hat x^T`.
        inverse: That of :func:`damped_inverse`, whose damping is :math:`\lambda`.
    """
    return weight + weight @ (cross - gram) @ inverse


@dataclass(frozen=True)
class Elimination:
    """The order in which inputs are rounded, and how an error passes on to those behind.

    Args:
        order: Permutation of the inputs of each block, ``(blocks, K)``.
        factor: Upper Cholesky factor of the inverse of the ordered moments, ``(blocks, K, K)``.
    """

    order: Tensor
    factor: Tensor

    @classmethod
    def of(cls, gram: Tensor, inverse: Tensor) -> "Elimination":
        """The inputs with the largest second moments come first.

        Args:
            gram: Second moments, ``(blocks, K, K)``.
            inverse: That of :func:`damped_inverse`.
        """
        order = gram.diagonal(dim1=-2, dim2=-1).argsort(dim=-1, descending=True, stable=True)
        rows = inverse.gather(1, order[:, :, None].expand_as(inverse))
        ordered = rows.gather(2, order[:, None].expand_as(inverse))
        return cls(order, torch.linalg.cholesky(ordered, upper=True))

    @property
    def costs(self) -> Tensor:
        """What a squared error of each weight costs once those behind make up for it."""
        diagonal = self.factor.diagonal(dim1=-2, dim2=-1)
        return torch.empty_like(diagonal).scatter(1, self.order, diagonal**-2)


def round_in_order(
    weight: Tensor, elimination: Elimination, nearest: Callable[[Tensor], Tensor]
) -> Tensor:
    """Round one input after another; weights not yet rounded make up for the errors (GPTQ).

    Args:
        weight: ``(blocks, rows, K)``.
        elimination: Of the moments of the inputs.
        nearest: ``(blocks, rows)`` values of one input -> the nearest levels.
    """
    order = elimination.order[:, None].expand_as(weight)
    left, factor = weight.gather(2, order), elimination.factor
    rounded = torch.empty_like(left)
    for start in range(0, left.shape[-1], _COLUMNS):
        stop = min(start + _COLUMNS, left.shape[-1])
        errors = torch.empty_like(left[..., start:stop])
        for i in range(start, stop):
            rounded[..., i] = nearest(left[..., i])
            error = (left[..., i] - rounded[..., i]) / factor[:, i, i, None]
            left[..., i + 1 : stop] -= error[..., None] * factor[:, i, None, i + 1 : stop]
            errors[..., i - start] = error
        left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    return torch.empty_like(rounded).scatter(2, order, rounded)
