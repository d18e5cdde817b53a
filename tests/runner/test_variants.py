"""Variants of a model that are evaluated side by side have the metrics of whole evaluations."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mmcv
import pytest
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import loops

from mmptq.analysis.sensitivity import Variant
from mmptq.analysis.sensitivity.switching import ALL, NONE, ONE, REST, switched
from mmptq.analysis.sensitivity.tensors import quantized_tensors
from mmptq.engine.incremental.memoized import MemoizedForward
from mmptq.errors import CalibrationDataError
from mmptq.runner import CalibrationRunner
from mmptq.runner import variants as module
from mmptq.runner.variants import evaluate_variants
from tests.tiny_project import NUM_VAL, Calibrated

MakeRunner = Callable[[str], CalibrationRunner]


@pytest.fixture
def runner_of(calibrated: Callable[[str], Calibrated]) -> MakeRunner:
    """``runner_of(family)``: a calibrated runner."""
    return lambda family: calibrated(family).runner


def variants_of(
    runner: CalibrationRunner, reference: float, mode: float, every: int
) -> list[Variant]:
    tensors = quantized_tensors(runner.model, {})
    points = [(reference, 0.0), *((mode, float(i)) for i in range(0, len(tensors), every))]
    return [partial(switched, tensors, *point) for point in points]


def whole(runner: CalibrationRunner, variants: Sequence[Variant]) -> list[dict[str, float]]:
    found = []
    for variant in variants:
        with variant():
            found.append(runner.evaluate("whole"))
    return found


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize(("reference", "mode"), [(NONE, ONE), (ALL, REST)], ids=["one", "rest"])
def test_metrics_are_those_of_whole_evaluations(
    family: str, reference: float, mode: float, runner_of: MakeRunner
) -> None:
    runner = runner_of(family)
    variants = variants_of(runner, reference, mode, 9)
    found = evaluate_variants(runner, variants, "variants")
    assert found == whole(runner, variants)
    assert len({metrics["bbox_mAP"] for metrics in found}) > 2
    assert runner.test_loop.evaluator.metrics[0].results == []
    quantizers = [*runner.model.sites.values(), *runner.model.weight_quantizers().values()]
    assert all(quantizer.enabled for quantizer in quantizers)


def test_each_image_is_read_once_and_progress_is_told(
    runner_of: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of("retinanet")
    variants = variants_of(runner, NONE, ONE, 20)
    read, steps, answered = [], [], []
    decode = mmcv.imfrombytes
    monkeypatch.setattr(mmcv, "imfrombytes", lambda *a, **k: read.append(1) or decode(*a, **k))
    answer = MemoizedForward.answering
    monkeypatch.setattr(
        MemoizedForward, "answering", lambda self: answered.append(1) or answer(self)
    )
    track = runner.track
    monkeypatch.setattr(
        runner, "track", lambda items, name, total: steps.append(total) or track(items, name, total)
    )
    evaluate_variants(runner, variants, "variants")
    assert len(read) == NUM_VAL and steps == [NUM_VAL * len(variants)]
    assert len(answered) == NUM_VAL * (len(variants) - 1)


def test_evaluators_share_the_annotations_alone(runner_of: MakeRunner) -> None:
    loop = runner_of("retinanet").test_loop
    first, second = module._evaluators(loop, 2)
    own = loop.evaluator.metrics[0]
    assert first.metrics[0] is not second.metrics[0] is not own
    assert first.metrics[0]._coco_api is second.metrics[0]._coco_api is own._coco_api
    assert first.metrics[0].results is not second.metrics[0].results


def test_a_module_that_knows_more_than_it_is_given_ends_the_reuse(
    runner_of: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, seen = runner_of("retinanet"), []
    head = runner.model.model.bbox_head
    reg, cls = head.reg_convs[0], head.retina_cls
    remember, original = reg.forward, cls.forward
    monkeypatch.setitem(reg.__dict__, "forward", lambda x: seen.append(remember(x)) or seen[-1])
    monkeypatch.setitem(cls.__dict__, "forward", lambda x: original(x) + seen[-1].mean())
    tensors = quantized_tensors(runner.model, {})
    index = [tensor.name for tensor in tensors].index("bbox_head.reg_convs.0.conv.weight")
    points = [(NONE, 0), (ONE, len(tensors) - 1), (ONE, index), (ONE, 0)]
    variants = [partial(switched, tensors, *point) for point in points]
    answered = []
    answer = MemoizedForward.answering
    monkeypatch.setattr(
        MemoizedForward, "answering", lambda self: answered.append(1) or answer(self)
    )
    found = evaluate_variants(runner, variants, "variants")
    assert len(answered) == 2  # the second of them differs, on the first image
    assert found == whole(runner, variants)


class OwnLoop(loops.TestLoop):
    """A user's."""


class Unlike(BaseMetric):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__(prefix="unlike")

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot be copied")

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        self.results += [float(s["pred_instances"]["scores"].sum()) for s in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {"sum": sum(results)}


@pytest.mark.parametrize("what", ["loop", "files", "metric"])
def test_where_it_cannot_be_told_each_is_evaluated_by_itself(
    what: str, runner_of: MakeRunner, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of("retinanet")
    loop = runner.test_loop
    if what == "loop":
        monkeypatch.setattr(loop, "__class__", OwnLoop)
    elif what == "files":
        monkeypatch.setattr(loop.evaluator.metrics[0], "outfile_prefix", str(tmp_path / "found"))
    else:
        evaluator = Evaluator([Unlike()])
        monkeypatch.setattr(loop, "evaluator", evaluator)
    monkeypatch.setattr(MemoizedForward, "recording", lambda _: pytest.fail("side by side"))
    variants = variants_of(runner, ALL, REST, 40)
    assert evaluate_variants(runner, variants, "variants") == whole(runner, variants)


def test_an_image_that_cannot_be_decoded_is_named(
    runner_of: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of("retinanet")
    monkeypatch.setattr(mmcv, "imfrombytes", lambda *_, **__: None)
    with pytest.raises(CalibrationDataError, match="failed to load image: .*0.png"):
        evaluate_variants(runner, variants_of(runner, NONE, ONE, 40), "variants")
