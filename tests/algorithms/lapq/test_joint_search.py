"""The search as a whole: against scipy on the full objective, resumed, and its records."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from mmptq.algorithms import JointSearch, LpInterpolation, MixedPrecision, RandomRanges
from mmptq.algorithms.lapq.optimizers import OPTIMIZERS
from mmptq.algorithms.lapq.search_space import SearchSpace
from mmptq.engine import LossEvaluator
from mmptq.errors import ConfigError, NumericalError
from tests.calibration_support import W4A4, WITH_OUTPUTS, MakeContext, make_context  # noqa: F401

TASK, DISTANCE = {"type": "TaskLoss"}, {"type": "OutputDistance"}
SMALL = {**W4A4, "scope": "backbone_neck"}


def scales(context: Any) -> list[torch.Tensor]:
    model = context.model
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    return [q.scale.clone() for q in quantizers]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def log_of(context: Any) -> list[dict[str, Any]]:
    text = (context.store.folder / "joint_search.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()][1:]


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_equals_scipy_on_the_full_objective(name: str, make_context: MakeContext) -> None:  # noqa: F811
    searched = make_context(name, images=1)
    JointSearch(group="unit", objective=TASK).run(searched)

    plain = make_context(name, images=1, folder="b")
    evaluator = LossEvaluator(plain, TASK, incremental=False)
    space = SearchSpace(plain.model, group="unit")
    values: dict[tuple[float, ...], float] = {}

    def function(x: np.ndarray) -> float:
        point = space.rounded(x)
        if point not in values:
            space.apply(point)
            values[point] = evaluator()
        return values[point]

    options = {"maxiter": 1, "xtol": 1e-3}
    minimize(function, np.zeros(len(space)), method="Powell", options=options)
    log = log_of(searched)
    assert [(tuple(line["point"]), line["loss"]) for line in log] == list(values.items())
    space.apply(min(values, key=lambda p: values[p]))
    assert equal(scales(searched), scales(plain))
    losses = list(values.values())
    assert min(losses) < losses[0]  # never worse than its start
    assert log[-1]["best"] == min(losses)
    assert (searched.store.folder.parent / "joint_search.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("optimizer", "qconfig"),
    [*((name, SMALL) for name in OPTIMIZERS), ("Powell", {**WITH_OUTPUTS, **SMALL})],
)
def test_resumed_in_the_middle_it_ends_the_same(
    optimizer: str,
    qconfig: dict[str, Any],
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = JointSearch(optimizer=optimizer, group="unit", max_evals=40, objective=DISTANCE)
    whole = make_context("retinanet", images=1, qconfig=qconfig)
    step.run(whole)

    evaluate, count = LossEvaluator.__call__, [0]

    def limited(self: LossEvaluator) -> float:
        count[0] += 1
        if count[0] == 18:
            raise KeyboardInterrupt
        return evaluate(self)

    killed = make_context("retinanet", images=1, folder="b", qconfig=qconfig)
    monkeypatch.setattr(LossEvaluator, "__call__", limited)
    with pytest.raises(KeyboardInterrupt):
        step.run(killed)
    assert len(log_of(killed)) == 17
    resumed = make_context("retinanet", images=1, folder="b", resume=True, qconfig=qconfig)
    step.run(resumed)
    assert count[0] == 18 + len(log_of(whole)) - 17  # nothing was evaluated twice
    assert equal(scales(whole), scales(resumed))
    losses = [[line["loss"] for line in log_of(c)] for c in (whole, resumed)]
    assert losses[0] == losses[1]


def test_without_resume_nothing_is_taken_over(make_context: MakeContext) -> None:  # noqa: F811
    step = JointSearch(max_evals=4)
    first = make_context("retinanet", images=1)
    step.run(first)
    again = make_context("retinanet", images=1)
    assert not list(again.store.folder.glob("*.jsonl"))


def test_another_start_takes_nothing_over(make_context: MakeContext) -> None:  # noqa: F811
    step = JointSearch(max_evals=4)
    step.run(make_context("retinanet", images=1))
    other = make_context("retinanet", images=1, resume=True, ranges=False)
    RandomRanges(seed=3).run(other)
    start = LossEvaluator(other, TASK, incremental=False)()
    step.run(other)
    lines = (other.store.folder / "joint_search.jsonl").read_text().splitlines()
    headers = [i for i, line in enumerate(lines) if "search" in json.loads(line)]
    assert len(headers) == 2
    assert json.loads(lines[headers[1] + 1])["loss"] == start


def test_budget_and_progress(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    reported: dict[str, Any] = {}

    def track(items: Any, name: str, total: int | None = None) -> Any:
        done = 0
        for item in items:
            yield item
            done += 1
        reported[name] = (done, total)

    context.track = track
    JointSearch(max_evals=9).run(context)
    assert len(log_of(context)) == 9
    assert reported["joint search"] == (9, 9)


def test_a_loss_that_is_not_finite_is_the_worst(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = make_context("retinanet", images=1)
    before = scales(context)
    losses = iter([2.0, float("nan"), 3.0, float("inf"), 4.0])
    monkeypatch.setattr(LossEvaluator, "__call__", lambda self: next(losses))
    JointSearch(max_evals=5).run(context)
    assert equal(before, scales(context))
    monkeypatch.setattr(LossEvaluator, "__call__", lambda self: float("nan"))
    with pytest.raises(NumericalError, match="better ranges"):
        JointSearch(max_evals=3, resolution=0.02).run(context)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"optimizer": "powell"},
        {"group": "layer"},
        {"scale": "sqrt"},
        {"max_iters": 0},
        {"max_evals": 0},
        {"bounds": (0.0, 2.0)},
        {"bounds": (1.5, 2.0)},
        {"resolution": 0.0},
    ],
)
def test_errors_name_the_key(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"JointSearch.{next(iter(kwargs))}"):
        JointSearch(**kwargs)


def test_random_ranges(make_context: MakeContext) -> None:  # noqa: F811
    contexts = [make_context("retinanet", images=1, folder=f, ranges=False) for f in "ab"]
    for context in contexts:
        RandomRanges(seed=1).run(context)
    assert equal(scales(contexts[0]), scales(contexts[1]))
    RandomRanges(seed=2).run(contexts[1])
    assert not equal(scales(contexts[0]), scales(contexts[1]))
    with pytest.raises(ConfigError, match="shares"):
        RandomRanges(shares=(0.0, 1.0))


@pytest.mark.parametrize("step", [JointSearch, LpInterpolation, MixedPrecision])
@pytest.mark.parametrize(
    ("objective", "loss", "labels"),
    [
        (dict(type="TaskLoss"), True, True),
        (dict(type="CrossEntropy"), False, True),
        (dict(type="CrossEntropy", soft=True), False, False),
        (dict(type="OutputDistance"), False, False),
    ],
)
def test_labels_are_read_for_more_than_the_model_s_own_loss(step, objective, loss, labels):
    arguments = (
        dict(size_mb="W4A4", measure=objective)
        if step is MixedPrecision
        else dict(objective=objective)
    )
    built = step(**arguments)
    assert (built.reads_loss, built.reads_labels) == (loss, labels)
