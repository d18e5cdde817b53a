"""The closed form against numpy, and against the definition of each step."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mmptq.algorithms.gptq.solver import (
    Elimination,
    damped_inverse,
    matching_weight,
    round_in_order,
)


def samples(blocks: int = 2, inputs: int = 5, count: int = 400, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(blocks, inputs, inputs, dtype=torch.float64, generator=generator)
    return mixing @ torch.randn(blocks, inputs, count, dtype=torch.float64, generator=generator)


def match(weight: Tensor, gram: Tensor, cross: Tensor, damp: float) -> Tensor:
    return matching_weight(weight, gram, cross, damped_inverse(gram, damp))


def eliminate(gram: Tensor, damp: float) -> Elimination:
    return Elimination.of(gram, damped_inverse(gram, damp))


def test_matching_weight_is_numpys_least_squares() -> None:
    x = samples()
    quant = x + 0.3 * samples(seed=1)
    weight = torch.randn(2, 3, 5, dtype=torch.float64)
    found = match(weight, quant @ quant.mT, x @ quant.mT, 1e-12)
    for block in range(2):
        wanted = (weight[block] @ x[block]).numpy()
        expected = np.linalg.lstsq(quant[block].numpy().T, wanted.T, rcond=None)[0].T
        np.testing.assert_allclose(found[block].numpy(), expected, rtol=1e-6, atol=1e-8)


def test_damping_holds_the_weight() -> None:
    x, quant = samples(), samples(seed=1)
    weight = torch.randn(2, 3, 5, dtype=torch.float64)
    moments = quant @ quant.mT, x @ quant.mT
    far, near = (match(weight, *moments, damp) for damp in (1e-3, 1e6))
    torch.testing.assert_close(near, weight, rtol=1e-4, atol=1e-4)
    assert float((far - weight).abs().max()) > 0.1
    same = match(weight, quant @ quant.mT, quant @ quant.mT, 0.1)
    torch.testing.assert_close(same, weight)


def test_independent_inputs_are_rounded_to_nearest() -> None:
    gram = torch.diag_embed(torch.tensor([[1.0, 3.0, 2.0]], dtype=torch.float64))
    elimination = eliminate(gram, 1e-3)
    assert elimination.order.tolist() == [[1, 2, 0]]
    torch.testing.assert_close(elimination.costs, gram.diagonal(dim1=1, dim2=2) + 2e-3)
    weight = torch.randn(1, 40, 3, dtype=torch.float64) * 5
    assert torch.equal(round_in_order(weight, elimination, torch.round), weight.round())


def plain_gptq(weight: np.ndarray, gram: np.ndarray, order: list[int]) -> np.ndarray:
    """The definition: round one input, solve for all that are left, again."""
    weight, rounded = weight.copy(), np.zeros_like(weight)
    for step, i in enumerate(order):
        rounded[:, i] = np.round(weight[:, i])
        rest = order[step + 1 :]
        if rest:
            # argmin over the rest of |(w - q)_i x_i + sum_rest (w - q) x|^2
            shift = np.linalg.solve(gram[np.ix_(rest, rest)], gram[rest, i])
            weight[:, rest] += np.outer(weight[:, i] - rounded[:, i], shift)
    return rounded


@pytest.mark.parametrize("inputs", [5, 150])  # below and above the columns done at once
def test_rounding_is_the_plain_method(inputs: int) -> None:
    x = samples(inputs=inputs, count=4 * inputs)
    gram = x @ x.mT
    weight = torch.randn(2, 7, inputs, dtype=torch.float64) * 3
    elimination = eliminate(gram, 0.01)
    found = round_in_order(weight, elimination, torch.round)
    with_damp = torch.linalg.inv(damped_inverse(gram, 0.01)).numpy()
    for block in range(2):
        order = elimination.order[block].tolist()
        expected = plain_gptq(weight[block].numpy(), with_damp[block], order)
        np.testing.assert_array_equal(found[block].numpy(), expected)


def test_output_error_is_below_that_of_nearest() -> None:
    x = samples(blocks=1, inputs=40, count=500)
    gram = x @ x.mT
    weight = torch.randn(1, 64, 40, dtype=torch.float64) * 3
    found = round_in_order(weight, eliminate(gram, 0.01), torch.round)

    def error(rounded: Tensor) -> Tensor:
        return ((rounded - weight) @ x).square().sum((0, 2))

    assert float(error(found).sum()) < 0.5 * float(error(weight.round()).sum())


def test_a_dead_input_is_harmless() -> None:
    x = samples()
    x[:, 2] = 0.0
    x[1] = 0.0
    gram = x @ x.mT
    weight = torch.randn(2, 3, 5, dtype=torch.float64)
    assert bool(match(weight, gram, gram, 0.1).isfinite().all())
    assert bool(round_in_order(weight, eliminate(gram, 0.01), torch.round).isfinite().all())
