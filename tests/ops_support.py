"""Tensors, schemes and strategies for the tests of ``mmptq.ops``."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from mmptq import ops
from mmptq.ops import QuantScheme

WHOLE_BITS = (1, 2, 3, 4, 5, 6, 8)
KINDS = {"signed": (True, True), "unsigned": (True, False), "affine": (False, False)}


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scheme_of(kind: str, bits: float) -> QuantScheme:
    return QuantScheme(bits, *KINDS[kind])


def fake(x: Tensor, low: float, high: float, scheme: QuantScheme) -> Tensor:
    scale, zero_point = ops.range_to_params(torch.tensor(low), torch.tensor(high), scheme)
    return ops.fake_quantize(x, scale, zero_point, *scheme.bounds)


ranges = st.tuples(
    st.floats(-100, 0, width=32), st.floats(0, 100, width=32), st.integers(-12, 12)
).filter(lambda r: r[1] - r[0] > 1e-3)
real_bits = st.floats(1.0, 8.0)
whole_bits = st.sampled_from(WHOLE_BITS)
kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 2**31 - 1)


def params_and_values(
    limits: tuple[float, float, int], scheme: QuantScheme, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, zero point, and values in and around the range."""
    factor = 2.0 ** limits[2]
    low, high = torch.tensor(limits[0] * factor), torch.tensor(limits[1] * factor)
    if scheme.symmetric and not scheme.signed:
        low = torch.tensor(0.0)
        high = high.clamp(min=1e-3 * factor)
    scale, zero_point = ops.range_to_params(low, high, scheme)
    width = float((high - low).abs())
    return scale, zero_point, gaussian(300, seed=seed) * width
