import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmptq.algorithms.reconstruction.shrinking import (
    BISECTIONS,
    ShrinkPolicy,
    ShrinkSettings,
    bits_at,
    largest_shrink,
)
from mmptq.quantizers import LearnedStepQuantizer, UniformQuantizer


@given(st.floats(0.01, 1.0), st.floats(0.0, 3.0))
def test_bisection_finds_where_the_loss_reaches_the_limit(position: float, limit: float) -> None:
    """Loss 2 (1 - position): the limit is reached at 1 - limit / 2."""

    def measure(p: float) -> float:
        return 2.0 * (1.0 - p)

    limit = max(limit, measure(position))
    found = largest_shrink(measure, position, limit)
    exact = min(max(1.0 - limit / 2.0, 0.0), position)
    assert measure(found) <= limit or found == position
    assert exact - 1e-12 <= found <= exact + position / 2**BISECTIONS + 1e-12


def test_bisection_never_trusts_what_it_has_not_measured() -> None:
    """A loss that is not monotonic: the position returned still respects the limit."""
    measured = {}

    def measure(p: float) -> float:
        measured[p] = 1.0 - p + 0.2 * math.sin(40 * p)
        return measured[p]

    found = largest_shrink(measure, 1.0, 0.4)
    assert measured[found] <= 0.4


def test_bits_walk_to_each_target() -> None:
    assert [bits_at(p, 4.0, 8.0) for p in (1.0, 0.5, 0.0)] == [8.0, 6.0, 4.0]
    assert [bits_at(p, 8.0, 8.0) for p in (1.0, 0.5, 0.0)] == [8.0, 8.0, 8.0]
    assert [bits_at(p, 8.0, 6.0) for p in (1.0, 0.0)] == [8.0, 8.0]


class _Problem:
    """Its loss is the quantizers' squared step; it counts how often it is asked."""

    def __init__(self, weight_bits: float = 2, act_bits: float = 4) -> None:
        def learned(bits: float) -> LearnedStepQuantizer:
            source = UniformQuantizer(bits)
            source.set_range(torch.tensor(-1.0), torch.tensor(1.0))
            return LearnedStepQuantizer(source)

        weight, act = learned(weight_bits), learned(act_bits)

        class Form:
            steps = [weight, act]
            weights = {"w": weight}
            acts = {"a": act}

        self.form = Form()
        self.asked = 0

    def measure(self, images: Any) -> float:
        self.asked += 1
        return sum(float(q.base_scale) ** 2 for q in self.form.steps)

    def measure_float(self, images: Any) -> float:
        return 0.0


def settings(mode: str = "shrink", **changes: Any) -> ShrinkSettings:
    values: dict[str, Any] = dict(
        mode=mode,
        start_bits=8.0,
        tau=0.2,
        iters=100,
        shrink_share=0.4,
        stops=8,
        forced_share=0.5,
        lr_schedule="hold",
    )
    return ShrinkSettings(**{**values, **changes})


def walk(policy: ShrinkPolicy, iters: int = 100, start: int = 0) -> list[dict[str, Any]]:
    rows = []
    for iteration in range(start, iters):
        row = policy.before(iteration)
        rows.append({"iteration": iteration, **policy.describe(), **(row or {})})
    return rows


@pytest.mark.parametrize("tau", [1e-6, 0.05, 0.2, 0.6, 10.0])
@pytest.mark.parametrize("forced_share", [0.0, 0.5, 1.0])
def test_invariants_of_shrinking(tau: float, forced_share: float) -> None:
    problem = _Problem()
    at_target = problem.measure([])
    policy = ShrinkPolicy(problem, settings(tau=tau, forced_share=forced_share), [0])  # type: ignore[arg-type]
    rows = walk(policy)
    for key, target in (("b_w", 2.0), ("b_a", 4.0)):
        bits = [row[key] for row in rows]
        assert bits[0] <= 8.0
        assert all(a >= b for a, b in zip(bits, bits[1:], strict=False))
        assert bits[-1] == target
        # The budget: the target is reached within its share of the iterations.
        assert bits[40] == target
    stops = [row for row in rows if row.get("event") == "stop"]
    assert 1 <= len(stops) <= 8
    for stop in stops:
        assert stop["limit"] == pytest.approx(tau * at_target)
        if not stop["forced"]:
            assert stop["instant_S"] <= stop["limit"] + 1e-12
    assert any(stop["forced"] for stop in stops) == (tau < 0.1 or (tau == 0.2 and len(stops) == 8))
    assert [q.scheme for q in problem.form.steps] == [q.target for q in problem.form.steps]


def test_both_walk_together() -> None:
    problem = _Problem()
    rows = walk(ShrinkPolicy(problem, settings(), [0]))  # type: ignore[arg-type]
    for row in rows:
        assert (row["b_w"] - 2.0) / 6.0 == pytest.approx((row["b_a"] - 4.0) / 4.0)


def test_progressive_takes_whole_bits_evenly() -> None:
    problem = _Problem(4, 4)
    rows = walk(ShrinkPolicy(problem, settings("progressive"), [0]))  # type: ignore[arg-type]
    assert [row["b_w"] for row in rows] == [b for b in (8.0, 7.0, 6.0, 5.0, 4.0) for _ in range(20)]


def test_direct_is_at_the_target_from_the_start() -> None:
    problem = _Problem()
    rows = walk(ShrinkPolicy(problem, settings("direct"), [0]))  # type: ignore[arg-type]
    assert {(row["b_w"], row["b_a"]) for row in rows} == {(2.0, 4.0)}
    assert sum("R" in row for row in rows) == 1


def test_nothing_to_shrink_in_a_unit_of_8_bits() -> None:
    rows = walk(ShrinkPolicy(_Problem(8, 8), settings(), [0]))  # type: ignore[arg-type]
    assert not any(row.get("event") == "stop" for row in rows)


@pytest.mark.parametrize("mode", ["shrink", "progressive"])
def test_going_on_from_a_state(mode: str) -> None:
    whole = ShrinkPolicy(_Problem(), settings(mode, tau=0.05), [0])  # type: ignore[arg-type]
    expected = walk(whole)
    first = ShrinkPolicy(_Problem(), settings(mode, tau=0.05), [0])  # type: ignore[arg-type]
    head = walk(first, 13)
    second = ShrinkPolicy(_Problem(), settings(mode, tau=0.05), [0])  # type: ignore[arg-type]
    second.load_state_dict(first.state_dict())
    assert head + walk(second, 100, 13) == expected


@pytest.mark.parametrize("mode", ["shrink", "direct", "progressive"])
def test_steps_are_held_above_the_target_in_the_shrinking_mode_only(mode: str) -> None:
    problem = _Problem()
    act = problem.form.acts["a"].log_gain.requires_grad_(False)  # learned by an earlier unit
    policy = ShrinkPolicy(problem, settings(mode, tau=1e-6), [0])  # type: ignore[arg-type]
    above, bits, learned = set(), policy.describe(), problem.form.weights["w"].log_gain
    for iteration in range(100):
        policy.before(iteration)
        above.add(policy.position > 0.0)
        assert learned.requires_grad == (mode != "shrink" or policy.position == 0.0)
        assert not act.requires_grad
        assert policy.forgets() == (policy.describe() != bits)
        bits = policy.describe()
    assert above == ({False} if mode == "direct" else {False, True})


def test_steps_are_learned_throughout_where_nothing_else_is() -> None:
    problem = _Problem()
    problem.form.weights = {}
    policy = ShrinkPolicy(problem, settings(), [0])  # type: ignore[arg-type]
    assert policy.position == 1.0
    assert all(q.log_gain.requires_grad for q in problem.form.steps)


def test_learning_rate_holds_until_the_target_then_falls() -> None:
    policy = ShrinkPolicy(_Problem(), settings(tau=0.05), [0])  # type: ignore[arg-type]
    factors, reached = [], None
    for iteration in range(100):
        policy.before(iteration)
        if policy.position == 0.0 and reached is None:
            reached = iteration
        factors.append(policy.lr_factor(iteration))
    assert reached is not None
    assert set(factors[:reached]) == {1.0}
    half = reached + (100 - reached) // 2
    assert factors[half] == pytest.approx(0.5, abs=0.03)
    assert factors[-1] < 0.01


def test_learning_rate_restarts_at_stops() -> None:
    policy = ShrinkPolicy(_Problem(), settings(tau=1e-6, lr_schedule="restart"), [0])  # type: ignore[arg-type]
    for iteration in range(22):
        policy.before(iteration)
        if policy.position > 0.0:
            expected = 0.55 + 0.45 * math.cos(math.pi * (iteration % 5) / 5)
            assert policy.lr_factor(iteration) == pytest.approx(expected)
