"""How far the heads' outputs are from the float model's, on images that calibration did not see."""

from dataclasses import replace
from typing import Any

from typing_extensions import override

from mmptq.engine import CalibrationContext, CalibrationSet, LossEvaluator
from mmptq.engine.incremental.objectives import CalibrationImage, OutputDistance
from mmptq.errors import CalibrationDataError
from mmptq.registry import OBJECTIVES
from mmptq.runner import CalibrationRunner
from mmptq.runner.calib_dataset import build_dataset, calibration_dataset_cfg


@OBJECTIVES.register_module()
class RecordedDistance(OutputDistance):
    """An :class:`OutputDistance` that keeps the error of each kind of output, image by image."""

    def __init__(self) -> None:
        self.errors: list[list[float]] = []

    @override
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        self.errors.append(self.relative_errors(image, outputs))
        return sum(self.errors[-1]) / max(len(self.errors[-1]), 1)


class HeldOutDistance:
    """Measures a model against the float one that it was.

    Args:
        runner: Behind its ``prepare_model``, while the weights are still the float model's.
        context: Of that runner.
        images: How many images: the last ones in the order of which calibration takes the first, so
            that they are the same for every recipe of one seed.

    Raises:
        CalibrationDataError: Some of them would calibrate, or judge what a step learned.
    """

    def __init__(self, runner: CalibrationRunner, context: CalibrationContext, images: int) -> None:
        dataset = build_dataset(calibration_dataset_cfg(runner.cfg), "the calibration set")
        settings, size = runner.settings, len(dataset)
        seen = settings.num_images + settings.images_to_judge
        if seen + images > size:
            raise CalibrationDataError(
                f"the calibration set has {size} images, fewer than the {seen} that the recipe "
                f"sees and {images} held out; let it see fewer by --images"
            )
        held_out = CalibrationSet(
            dataset,
            images,
            settings.seed,
            settings.cache_gb,
            context.store.folder,
            settings.batch_size,
            skip=size - images,
        )
        self._evaluate = LossEvaluator(
            replace(context, data=held_out), {"type": "RecordedDistance"}, incremental=False
        )

    def __call__(self) -> tuple[float, list[float]]:
        """The distance of the model as it stands, and that of each kind of output.

        Both are means over the images of the share of the float output's variance that is lost.
        """
        objective = self._evaluate.objective
        assert isinstance(objective, RecordedDistance)
        objective.errors.clear()
        distance = self._evaluate()
        kinds = zip(*objective.errors, strict=True)
        return distance, [sum(errors) / len(errors) for errors in kinds]
