"""Runs on images with noise far below a gray level, which rolls values at rounding edges anew."""

import math
import statistics
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

NOISE = 1e-5  # of the spread of an image's values: below a thousandth of a gray level


@contextmanager
def jittered(preprocessor: nn.Module, repeat: int) -> Iterator[None]:
    """Every preprocessed image has noise on it.

    It is the same in each context of one ``repeat``, whatever else is preprocessed there: what the
    image holds and ``repeat`` decide it.
    """

    def add_noise(module: nn.Module, args: Any, data: dict[str, Any]) -> dict[str, Any]:
        x = data["inputs"]
        # A generator reads 32 bits of its seed.
        seed = zlib.crc32(x.cpu().numpy().tobytes(), repeat)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(x.shape, generator=generator).to(x)
        return {**data, "inputs": x + NOISE * x.std() * noise}

    handle = preprocessor.register_forward_hook(add_noise)
    try:
        yield
    finally:
        handle.remove()


def paired_difference(ones: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Mean of ``ones`` less ``others``, pair by pair, and its standard error."""
    differences = [one - other for one, other in zip(ones, others, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.fmean(differences), error
