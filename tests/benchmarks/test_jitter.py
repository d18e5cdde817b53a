"""benchmarks/jitter.py: runs that differ in what rounding edges decide alone."""

import math

import pytest
import torch
from torch import nn


class Preprocessor(nn.Module):
    """As MMEngine's: a dict with the images."""

    def forward(self, x):
        return {"inputs": x, "data_samples": None}


def test_the_same_noise_in_each_context_of_a_repeat_and_none_behind_it():
    from jitter import NOISE, jittered

    preprocessor, (x, other) = Preprocessor(), 50 * torch.randn(2, 1, 3, 32, 32).double()
    found = []
    for repeat, images in ((0, (x, other)), (0, (other, x)), (1, (x, other))):
        with jittered(preprocessor, repeat):
            noise = {id(i): preprocessor(i)["inputs"] - i for i in images}
        found.append((noise[id(x)], noise[id(other)]))
    assert all(map(torch.equal, found[0], found[1]))  # in whatever order
    assert not torch.equal(found[0][0], found[2][0])
    assert not torch.equal(found[0][0], found[0][1])
    assert float(found[0][0].std()) == pytest.approx(NOISE * float(x.std()), rel=0.1)
    assert preprocessor(x)["inputs"] is x


def test_mean_and_error_of_pairs():
    from jitter import paired_difference

    mean, error = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (mean, error) == (2.0, pytest.approx(1 / math.sqrt(3)))
