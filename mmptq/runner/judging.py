"""A step that learns must do better than its start on images that it has not seen."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmengine.logging import print_log

from mmptq.algorithms.base import Step
from mmptq.engine import CalibrationContext, CalibrationSet, LossEvaluator
from mmptq.evaluation.verdict import Verdict

_CACHE_GB = 1.0  # of the images and of what the float model makes of them; the rest spills


class Judge:
    """Measures before a step and after it, and gives the model its start back where that is better.

    It is made before the step's random numbers are drawn.

    Args:
        step: The step.
        objective: By which images that it does not see judge.
        images: These.
        context: At the step's start.
    """

    def __init__(
        self,
        step: Step,
        objective: Mapping[str, Any],
        images: CalibrationSet,
        context: CalibrationContext,
    ) -> None:
        self._step, self._objective, self._images = step, objective, images
        self._model = context.model
        self._loss = LossEvaluator(
            replace(context, data=images), objective, incremental=False, cache_gb=_CACHE_GB
        )
        self._before = self._loss()
        self._start = {k: v.detach().clone() for k, v in self._model.state_dict().items()}
        self._float_weights = self._model.float_weights()

    def verdict(self) -> Verdict:
        """Call once the step has ended."""
        verdict = Verdict(
            type(self._step).__name__,
            str(self._objective["type"]),
            len(self._images.paths),
            self._before,
            self._loss(),
        )
        if not verdict.kept:
            self._model.load_state_dict(self._start)
            self._model.set_float_weights(self._float_weights)
        level = logging.INFO if verdict.kept else logging.WARNING
        print_log(str(verdict), logger="current", level=level)
        return verdict


def judge(step: Step, context: CalibrationContext) -> Judge | None:
    """The judge of a step; ``None`` where nothing is learned, or nothing is there to judge by."""
    objective, images, model = step.judged_by, context.check_images, context.model
    if objective is None or images is None:
        return None
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    if not all(quantizer.calibrated for quantizer in quantizers):
        return None  # the step itself says what it lacks
    return Judge(step, objective, images, context)
