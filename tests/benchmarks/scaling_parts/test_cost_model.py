"""benchmarks/scaling_parts/cost_model.py: against seconds with known parameters, and by hand."""

import pytest


@pytest.fixture
def model():
    from scaling_parts import cost_model

    return cost_model


def measured(model, true, kind, rounds=1, noise=()):
    """Points of one and two processes at two numbers of images."""
    noise = iter(noise or [1.0] * 4)
    once, image, exchange = true
    return [
        model.Measured(
            model.Work(rounds, images),
            n,
            rounds * (once + image * images / n + exchange * (n - 1)) * next(noise),
        )
        for n in (1, 2)
        for images in (8, 16)
    ]


@pytest.mark.parametrize("rounds", [1, 50])
@pytest.mark.parametrize("true", [(2.0, 0.5, 0.25), (0.0, 1.0, 0.0), (3.0, 0.0, 0.0)])
def test_the_fit_finds_known_parameters(model, true, rounds):
    for kind in model.Exchange:
        found = model.fit(measured(model, true, kind, rounds), kind)
        assert (found.once, found.image, found.exchange) == pytest.approx(true, abs=1e-9)
        assert found.kind is kind
        assert found.error == pytest.approx(0, abs=1e-9)


def test_noise_moves_it_little_and_no_part_takes_less_than_nothing(model):
    # The second process seems to be faster than half: nothing explains it but the noise.
    kind = model.Exchange.NUMBERS
    found = model.fit(measured(model, (0.0, 1.0, 0.0), kind, noise=[1, 1, 0.98, 0.98]))
    assert min(found.once, found.image, found.exchange) >= 0
    assert found.image == pytest.approx(1, abs=0.02)
    assert found.error == pytest.approx(0.01, abs=0.005)


def test_a_round_by_hand(model):
    work = model.Work(rounds=3, images=10)
    numbers = model.Fit(1.0, 0.5, 0.25)
    assert numbers.seconds(work, 1) == 3 * (1 + 5)
    assert numbers.seconds(work, 4) == 3 * (1 + 3 * 0.5 + 2 * 0.25)  # three images, two doublings
    assert numbers.seconds(work, 64) == 3 * (1 + 0.5 + 6 * 0.25)  # one image is the least
    everything = model.Fit(1.0, 0.5, 0.25, model.Exchange.ALL)
    assert everything.seconds(work, 4) == 3 * (1 + 3 * 0.5 + 3 * 0.25)


def test_another_model_by_hand(model):
    small, large = model.Network(0.1, 100, 10), model.Network(2.0, 5000, 40)
    transfer = model.Transfer(small, large, model.Link(bandwidth=1e4, latency=0.01))
    work = model.Work(rounds=2, images=4)
    fit = model.Fit(1.0, 0.5, 0.25)  # layers 4 times, forward 20 times
    assert transfer.seconds(fit, work, 1) == pytest.approx(2 * (4 + 4 * 10))
    assert transfer.seconds(fit, work, 2) == pytest.approx(2 * (4 + 2 * 10 + 1))
    gradients = model.Fit(1.0, 0.5, 99.0, model.Exchange.GRADIENTS)  # weights 50 times
    assert transfer.seconds(gradients, work, 1) == pytest.approx(2 * (50 + 4 * 10))
    exchange = 2 * 1 / 2 * 20000 / 1e4 + 1 * 0.01 * 40
    assert transfer.seconds(gradients, work, 2) == pytest.approx(2 * (50 + 2 * 10 + exchange))
