"""Objectives and the evaluator, against MMDetection's own losses."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch

from mmptq.engine import LossEvaluator, Objective, OutputDistance, TaskLoss, float_form
from mmptq.engine.incremental.objectives import CalibrationImage
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.models.trace import flatten_tensors
from mmptq.registry import OBJECTIVES
from tests.calibration_support import MakeContext, make_context  # noqa: F401

TASK, DISTANCE = {"type": "TaskLoss"}, {"type": "OutputDistance"}


def own_loss(model: Any, batch: Any) -> float:
    """What MMDetection trains on."""
    batch = model.data_preprocessor(batch, False)
    model.start_pass()
    with torch.no_grad():
        losses = model.model.loss(batch["inputs"], batch["data_samples"])
    return sum(float(t) for key in losses if "loss" in key for t in flatten_tensors(losses[key]))


def test_retinanet_task_loss_is_the_detectors_own(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    expected = [own_loss(context.model, batch) for _, batch in context.data]
    assert LossEvaluator(context, TASK)() == pytest.approx(sum(expected) / 2, rel=1e-6)


def test_faster_rcnn_task_loss_of_the_float_model_is_one_of_the_detectors_own(
    make_context: MakeContext,  # noqa: F811
) -> None:
    """The own loss samples at random: ours must lie among many of its values."""
    context = make_context("faster_rcnn", images=1)
    (_, batch) = next(iter(context.data))
    with float_form(context.model):
        own = [own_loss(context.model, batch) for _ in range(30)]
        ours = LossEvaluator(context, TASK, incremental=False)()
    assert min(own) * 0.98 <= ours <= max(own) * 1.02


@pytest.mark.parametrize("objective", [TASK, DISTANCE], ids=["task", "distance"])
@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_equal_parameters_give_equal_bits(
    name: str,
    objective: dict[str, Any],
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context(name)
    values = set()
    for seed in range(3):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        evaluator = LossEvaluator(context, objective, incremental=False)
        values |= {evaluator(), evaluator()}
    assert len(values) == 1


def test_random_numbers_are_left_as_they_were(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("faster_rcnn")
    before = torch.get_rng_state(), random.getstate()
    LossEvaluator(context, TASK)()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_distance_is_zero_for_the_float_model_and_grows_with_noise(
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("faster_rcnn")
    evaluator = LossEvaluator(context, DISTANCE, incremental=False)
    with float_form(context.model):
        assert evaluator() == 0.0
    fine = evaluator()
    for quantizer in context.model.sites.values():
        quantizer.scale.mul_(3.0)
    assert 0.0 < fine < evaluator()


def test_distance_pools_the_levels_of_one_kind(tmp_path: Any) -> None:
    """By hand: the levels' squared errors and spreads are summed, the kinds' shares averaged."""
    levels = [torch.tensor([0.0, 4.0]), torch.tensor([2.0, 2.0, 2.0])]
    single = torch.tensor([[1.0], [3.0]])
    objective, image = OutputDistance(), CalibrationImage(0, [], None)
    objective.prepare(None, 1.0, tmp_path)  # type: ignore[arg-type]
    objective.see_float(image, ((levels,), (single,)))
    moved = [levels[0] + 1.0, levels[1] - 2.0]
    # Spread of the kind around its mean of 2: 8, its error: 2 + 12; single: 2 and 0.5.
    outputs = (moved,), (single + 0.5,)
    assert objective.relative_errors(image, outputs) == pytest.approx([14.0 / 8.0, 0.5 / 2.0])
    assert objective.value(image, outputs) == pytest.approx((14.0 / 8.0 + 0.5 / 2.0) / 2.0)


def test_last_stage_is_the_region_heads_share(make_context: MakeContext) -> None:  # noqa: F811
    """Steps of the region proposal head alone do not change it."""
    context = make_context("faster_rcnn")
    last = LossEvaluator(context, {"type": "LastStageDistance"}, incremental=False)
    both = LossEvaluator(context, DISTANCE, incremental=False)
    before, before_both = last(), both()
    assert before > 0.0
    sites = [q for name, q in context.model.sites.items() if name.startswith("rpn_head.")]
    assert sites
    for quantizer in sites:
        quantizer.scale.mul_(3.0)
    assert last() == before
    assert both() > before_both


def test_last_stage_of_one_stage_is_all(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    all_outputs = LossEvaluator(context, DISTANCE, incremental=False)()
    assert LossEvaluator(context, {"type": "LastStageDistance"}, incremental=False)() == all_outputs


def test_quantizers_and_mode_are_as_before(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    LossEvaluator(context, TASK)
    assert all(q.enabled for q in context.model.weight_quantizers().values())
    assert all(q.enabled for q in context.model.sites.values())


def test_mean_is_over_images_in_their_order(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=3)
    evaluator = LossEvaluator(context, DISTANCE, incremental=False)
    single = []
    for image in list(evaluator._images):
        evaluator._images = [image]
        single.append(evaluator())
    evaluator._images = list(LossEvaluator(context, DISTANCE)._images)
    assert evaluator() == math.fsum(single) / 3


def test_a_users_objective(make_context: MakeContext) -> None:  # noqa: F811
    class LargestOutput(Objective):
        def value(self, image: CalibrationImage, outputs: Any) -> float:
            return max(float(t.max()) for t in flatten_tensors(outputs))

    OBJECTIVES.register_module(module=LargestOutput)
    try:
        assert LossEvaluator(make_context("retinanet"), {"type": "LargestOutput"})() > 0.0
    finally:
        del OBJECTIVES.module_dict["LargestOutput"]


def test_labels_in_another_frame_are_refused(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    context.data._data[1][1].gt_instances.bboxes *= 4.0
    with pytest.raises(CalibrationDataError, match=r"image_1.png.*before Resize"):
        LossEvaluator(context, TASK)


def test_missing_labels_are_refused(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    del context.data._data[0][1].gt_instances
    with pytest.raises(CalibrationDataError, match="OutputDistance"):
        LossEvaluator(context, TASK)


def test_unknown_objective() -> None:
    with pytest.raises(ConfigError, match="TaskLoss"):
        LossEvaluator.__init__.__globals__["build"](OBJECTIVES, {"type": "TaskLos"}, "objective")
    assert TaskLoss.reads_loss


@pytest.mark.parametrize("objective", [TASK, DISTANCE], ids=["task", "distance"])
def test_processes_share_the_images_and_get_the_same_sum(
    objective: dict[str, Any],
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = LossEvaluator(make_context("faster_rcnn", images=3), objective)()
    evaluators = []
    for rank in range(2):
        context = make_context("faster_rcnn", images=3, folder=f"rank{rank}")
        whole = list(context.data)

        class Share:
            paths = context.data.paths
            items = whole[rank::2]

            def __iter__(self, items: Any = items) -> Any:
                return iter(items)

            def __len__(self, items: Any = items) -> int:
                return len(items)

        context.data = Share()
        evaluators.append(LossEvaluator(context, objective))
    gathered: list[Any] = []
    gather = "mmptq.engine.incremental.evaluator.all_gather_object"
    monkeypatch.setattr(gather, lambda values: gathered.append(values) or [values])
    evaluators[0]()
    monkeypatch.setattr(gather, lambda values: [gathered[0], values])
    assert evaluators[1]() == expected
