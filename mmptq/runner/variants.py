"""Metrics of several variants of one model, evaluated side by side: every image is read once."""

import contextlib
import copy
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import TestLoop, ValLoop
from mmengine.runner.amp import autocast
from mmengine.structures import BaseDataElement

from mmptq.analysis.sensitivity import Variant
from mmptq.engine.incremental.memoized import MemoizedForward
from mmptq.evaluation.row import plain_metrics
from mmptq.models import QuantModel
from mmptq.models.trace import flatten_tensors
from mmptq.runner.calibration_runner import CalibrationRunner
from mmptq.runner.checks import written_attributes
from mmptq.runner.measuring_runner import undecodable_named


def evaluate_variants(
    runner: CalibrationRunner, variants: Sequence[Variant], name: str, cache_gb: float = 2.0
) -> list[dict[str, float]]:
    """The metrics that :meth:`CalibrationRunner.evaluate` gives in each variant.

    Of each batch, the first variant's pass is kept, and in the others' only what differs from it is
    computed. On the first batch every variant is compared with its whole pass; if one differs, all
    passes are whole ones from there on. Where a loop or a metric does not allow several evaluations
    side by side, they follow each other, as a whole.

    Args:
        runner: Set up, its model prepared.
        variants: The first one differs from each of the others in few layers.
        name: Of the task, for the progress bar.
        cache_gb: Memory budget of one batch's kept pass, in GiB.

    Raises:
        CalibrationDataError: A test image cannot be decoded.
    """
    evaluators = _evaluators(runner.test_loop, len(variants))
    if evaluators is None:
        return [_evaluate_whole(runner, v) for v in runner.track(variants, name, len(variants))]
    runner.model.eval()
    loader = runner.test_loop.dataloader
    steps = _side_by_side(runner, variants, evaluators, cache_gb)
    with undecodable_named():
        for _ in runner.track(steps, name, len(loader) * len(variants)):
            pass
    with _silent():
        return [plain_metrics(evaluator.evaluate(len(loader.dataset))) for evaluator in evaluators]


def _evaluate_whole(runner: CalibrationRunner, variant: Variant) -> dict[str, float]:
    with variant(), _silent():
        return runner.evaluate("analysis")


def _silent() -> AbstractContextManager[Any]:
    """Without what pycocotools prints."""
    return contextlib.redirect_stdout(io.StringIO())


def _evaluators(loop: Any, count: int) -> list[Evaluator] | None:
    """Evaluators of the variants' own; ``None`` where evaluations must follow each other.

    A loop of another type may do more than to predict and process, and files that two evaluations
    write would be the same.
    """
    metrics = loop.evaluator.metrics
    if type(loop) not in (TestLoop, ValLoop) or any(map(written_attributes, metrics)):
        return None
    # They only read it, and it may be larger than all detections.
    truth = {id(v): v for metric in metrics for v in vars(metric).values() if _is_truth(v)}
    try:
        return [copy.deepcopy(loop.evaluator, dict(truth)) for _ in range(count)]
    except Exception:  # noqa: BLE001  a user's metric may hold anything
        return None


def _is_truth(value: Any) -> bool:
    """Whether it is an annotation file as one of the reference evaluators reads it."""
    packages = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    return bool(packages & {"pycocotools", "lvis"})


@torch.no_grad()
def _side_by_side(
    runner: CalibrationRunner,
    variants: Sequence[Variant],
    evaluators: Sequence[Evaluator],
    cache_gb: float,
) -> Iterator[None]:
    """Predict and process, a step for each variant of each batch."""
    loop, passes = runner.test_loop, _Passes(runner.model, variants, cache_gb)
    for batch in loop.dataloader:
        for index, evaluator in enumerate(evaluators):
            with autocast(enabled=loop.fp16):
                outputs = passes(batch, index)
            evaluator.process(data_samples=outputs, data_batch=batch)
            yield


class _Passes:
    """What the variants of a model predict.

    Args:
        model: Prepared, in eval mode.
        variants: Of it.
        cache_gb: Memory budget of the kept pass, in GiB.
    """

    def __init__(self, model: QuantModel, variants: Sequence[Variant], cache_gb: float) -> None:
        self._model, self._variants = model, variants
        layers = _changing(model, variants)
        self._memo: MemoizedForward | None = MemoizedForward(model.model, layers, cache_gb)
        self._checked: set[int] = set()

    def __call__(self, batch: Any, index: int) -> Any:
        """Predictions of variant ``index``; of a batch, those of the first come first."""
        with self._variants[index]():
            if self._memo is None:
                return self._whole(batch)
            if index == 0:
                with self._memo.recording():
                    return self._whole(batch)
            with self._memo.answering():
                outputs = self._whole(batch)
            if index in self._checked:
                return outputs
            self._checked.add(index)
            return self._compared(outputs, self._whole(batch))

    def _whole(self, batch: Any) -> Any:
        # Nobody promises to leave the samples of a batch as they are.
        return self._model.test_step(copy.deepcopy(batch))

    def _compared(self, outputs: Any, whole: Any) -> Any:
        if not _same(outputs, whole):
            self._memo = None
            print_log(
                "an incremental prediction differs from a whole one: a module computes with more "
                "than it is given; every prediction is a whole one from here on",
                logger="current",
                level=logging.WARNING,
            )
        return whole


def _changing(model: QuantModel, variants: Sequence[Variant]) -> set[str]:
    """Names of the layers that are not the same in all variants."""
    layers = dict(model.quant_layers())
    states = []
    for variant in variants:
        with variant():
            states.append({name: layer.fingerprints() for name, layer in layers.items()})
    return {name for name in layers if any(s[name] != states[0][name] for s in states)}


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two lists of data samples hold the same tensors, and any at all."""
    found, expected = ([*flatten_tensors([_plain(s) for s in samples])] for samples in (a, b))
    return 0 < len(found) == len(expected) and all(
        x.shape == y.shape and torch.equal(x, y) for x, y in zip(found, expected, strict=True)
    )


def _plain(sample: Any) -> Any:
    return sample.to_dict() if isinstance(sample, BaseDataElement) else sample
