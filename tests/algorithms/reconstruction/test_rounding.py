import math

import pytest
import torch

from mmptq.algorithms import BRECQ, AdaRound, QDrop
from mmptq.algorithms.reconstruction.rounding import RoundingPolicy
from mmptq.errors import ConfigError
from mmptq.quantizers import AdaptiveRoundingQuantizer, UniformQuantizer


def quantizer() -> AdaptiveRoundingQuantizer:
    source = UniformQuantizer(4)
    source.set_range(torch.tensor(-1.0), torch.tensor(1.0))
    return AdaptiveRoundingQuantizer(source, torch.linspace(-0.9, 0.9, 10))


def policy(**changes: object) -> RoundingPolicy:
    values = dict(iters=100, weight=0.01, warmup=0.2, beta=(20.0, 2.0), decay=False)
    return RoundingPolicy([quantizer()], **{**values, **changes})  # type: ignore[arg-type]


def test_no_penalty_during_warm_up_then_a_falling_exponent() -> None:
    made = policy()
    assert made.penalty(19) is None
    seen = []
    for iteration in (20, 60, 100):
        penalty = made.penalty(iteration)
        assert penalty is not None
        seen.append(made.beta)
        h = torch.sigmoid(made._quantizers[0].v) * 1.2 - 0.1
        assert made.beta is not None
        by_hand = 0.01 * sum(1 - abs(2 * float(x) - 1) ** made.beta for x in h.detach())
        assert float(penalty.detach()) == pytest.approx(by_hand, rel=1e-5)
    assert seen == [20.0, 11.0, 2.0]


def test_learning_rate() -> None:
    assert policy().lr_factor(73) == 1.0
    assert policy(decay=True).lr_factor(25) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))


def test_published_settings_are_the_default() -> None:
    step = QDrop()
    assert (step.iters, step.batch_size, step.drop_prob) == (20000, 2, 0.5)
    assert (step.warmup, step.beta, step.rounding_weight) == (0.2, (20.0, 2.0), 0.01)
    assert step.lr_rounding == 1e-3
    assert (AdaRound.granularity, BRECQ.granularity, QDrop.granularity) == (
        "layer",
        "block",
        "block",
    )
    assert (AdaRound.activations, BRECQ.activations, QDrop.activations) == (False, False, True)


@pytest.mark.parametrize(
    ("step", "arguments", "message"),
    [
        (QDrop, dict(drop_prob=1.0), r"QDrop.drop_prob = 1.0: must be in \[0, 1\)"),
        (QDrop, dict(iters=0), r"QDrop.iters = 0: must be a whole number from 1"),
        (
            AdaRound,
            dict(preset="slow"),
            r"AdaRound.preset = 'slow': must be one of publ",
        ),
        (AdaRound, dict(warmup=1.5), r"AdaRound.warmup = 1.5"),
        (AdaRound, dict(beta=(20.0,)), r"AdaRound.beta = \(20.0,\): must be two positive numbers"),
        (BRECQ, dict(fisher="yes"), r"BRECQ.fisher = 'yes'"),
        (BRECQ, dict(cache=dict(gb=1)), r"cache.gb: unknown key; known are max_gb, dtype, device"),
        (BRECQ, dict(cache=dict(max_gb=0)), r"cache.max_gb = 0: must be more than 0"),
        (BRECQ, dict(cache=dict(dtype="int8")), r"cache.dtype = 'int8'"),
    ],
)
def test_bad_arguments(step: type, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        step(**arguments)
