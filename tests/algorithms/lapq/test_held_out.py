"""Moves that held-out images do not confirm, against brute force and on a small detector."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmptq.algorithms import JointSearch
from mmptq.algorithms.lapq.held_out import LoggedLoss, confirmed
from mmptq.algorithms.lapq.search_space import Point, SearchSpace
from mmptq.engine import LossEvaluator, SearchLog
from mmptq.errors import ConfigError
from tests.calibration_support import MakeContext, make_context  # noqa: F401

TASK = {"type": "TaskLoss"}
coordinates = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=4).map(tuple)


@given(coordinates, st.lists(st.integers(-3, 3), min_size=4, max_size=4))
def test_the_best_choice_of_moves_where_they_do_not_interact(
    point: Point, target: list[int]
) -> None:
    def loss(x: Point) -> float:
        return sum((v - t) ** 2 for v, t in zip(x, target, strict=False))

    choices = itertools.product(*[{v, 0.0} for v in point])
    found = confirmed(point, loss)
    assert all(a in (0.0, b) for a, b in zip(found, point, strict=True))
    assert loss(found) == min(map(loss, choices))


def test_the_start_where_the_moves_only_fit_the_search() -> None:
    # Each coordinate alone looks good behind the other one, both together are worse than nothing.
    values = {(0.0, 0.0): 1.0, (1.0, 1.0): 2.0, (0.0, 1.0): 3.0, (1.0, 0.0): 3.0}
    assert confirmed((1.0, 1.0), values.__getitem__) == (0.0, 0.0)


def test_an_infinite_loss_is_taken_back() -> None:
    assert confirmed((2.0, 1.0), lambda x: math.inf if x[0] else 1.0 - x[1]) == (0.0, 1.0)


def test_a_point_is_evaluated_once(
    make_context: MakeContext,  # noqa: F811
    tmp_path: Path,
) -> None:
    space = SearchSpace(make_context("retinanet", images=1, ranges=True).model)
    losses = iter([3.0, math.nan, 2.0])
    log = SearchLog(tmp_path / "log.jsonl", {})
    with LoggedLoss(space, log, lambda: lambda: next(losses)) as loss:  # type: ignore[arg-type, return-value]
        points = [(float(i),) + (0.0,) * (len(space) - 1) for i in range(3)]
        assert [loss(point) for point in points * 2] == [3.0, math.inf, 2.0] * 2
    assert space.variables[0].multiplier == space.multipliers(points[2])[0]


def test_search_and_held_out_images_are_apart(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=3)
    weights = context.model.weight_quantizers().values()
    start = [q.scale.clone() for q in weights]
    images = {"search": range(2), "held out": range(2, 3)}
    before = {n: LossEvaluator(context, TASK, positions=p)() for n, p in images.items()}
    step = JointSearch(
        objective=TASK, optimizer="CoordinateDescent", group="unit", max_evals=30, held_out=0.4
    )
    step.run(context)
    report = step.report
    assert report is not None and report.held_out is not None
    assert report.start == before["search"]
    assert report.held_out[0] == before["held out"]
    assert report.best < report.start
    kept = LossEvaluator(context, TASK, positions=images["held out"], incremental=False)()
    assert kept == report.held_out[2] <= min(report.held_out)
    if kept < before["held out"]:
        assert not all(torch.equal(q.scale, s) for q, s in zip(weights, start, strict=True))
    lines = (context.store.folder / "joint_search_held_out.jsonl").read_text().splitlines()
    assert report.evaluations == 30 + len(lines) - 1


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_errors_name_the_key(share: float) -> None:
    with pytest.raises(ConfigError, match="JointSearch.held_out"):
        JointSearch(held_out=share)
