"""Random numbers that are the same every time."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class RandomState:
    """The state of all generators of random numbers that a model may draw from, as it is now."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy: Any = np.random.get_state()
        self._torch = [torch.get_rng_state()]
        if torch.cuda.is_available():
            self._torch.append(torch.cuda.get_rng_state())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RandomState):
            return NotImplemented
        return (
            self._python == other._python
            and all(np.array_equal(a, b) for a, b in zip(self._numpy, other._numpy, strict=True))
            and all(torch.equal(a, b) for a, b in zip(self._torch, other._torch, strict=True))
        )

    def restore(self) -> None:
        """Make it the state again."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch[0])
        for state in self._torch[1:]:
            torch.cuda.set_rng_state(state)


@contextmanager
def frozen_random(seed: int = 0) -> Iterator[None]:
    """Random numbers are the same every time here, and as if nothing happened afterwards."""
    before = RandomState()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        before.restore()
