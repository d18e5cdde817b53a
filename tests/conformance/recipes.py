"""The recipes of the conformance test, at their smallest, through the runner as a user's run."""

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.registry import DATASETS
from torch import Tensor, nn

from mmptq.adapters.randomness import frozen_random
from mmptq.engine import CalibrationContext
from mmptq.evaluation import Results
from mmptq.models.trace import flatten_tensors
from mmptq.runner import CalibrationRunner
from tests.conformance.families import Family
from tests.conformance.project import FamilyProject, build_float, make_project
from tests.tiny_project import REPO

_MMSE = {
    "type": "RangeCalibration",
    "weight": {"type": "LpNormObserver", "p": 2.0},
    "act": {"type": "LpNormObserver", "p": 2.0},
}
_LAPQ = [
    {"type": "LpInterpolation", "num_points": 3},
    {
        "type": "JointSearch",
        "optimizer": "CoordinateDescent",
        "group": "unit",
        "held_out": 0.5,
        "max_evals": 4,
    },
]
STEPS: dict[str, list[dict[str, Any]]] = {
    "plan": [_MMSE],
    "mmse_w8a8": [_MMSE],
    "reload": [_MMSE],
    "task_loss": _LAPQ,
    "gptq": [_MMSE, {"type": "GPTQ", "positions": 64}],
    "adaround": [_MMSE, {"type": "AdaRound", "iters": 2, "batch_size": 2}],
    "bitshrink": [_MMSE, {"type": "BitShrinking", "iters": 10, "batch_size": 2, "stops": 3}],
    "lapq": _LAPQ,
}
# 8 bits are near the float model; at 4 there is something left to mend.
FOUR_BITS = ("gptq", "adaround", "bitshrink", "lapq")
NUM_IMAGES = 4


class ObservedRunner(CalibrationRunner):
    """Keeps the context of its run."""

    context: CalibrationContext

    def setup(self) -> CalibrationContext:
        """As in the base class."""
        self.context = super().setup()
        return self.context


class FamilyRun:
    """A family's project and the runs of its recipes.

    Args:
        family: Which.
        images: Folder of the images of all families.
        folder: An empty one, for everything else.
    """

    def __init__(self, family: Family, images: Path, folder: Path) -> None:
        self.family, self._folder = family, folder
        self.project: FamilyProject = make_project(family, images, folder)

    def runner(self, recipe: str) -> ObservedRunner:
        """A runner of ``recipe`` that has done nothing yet."""
        cfg = copy.deepcopy(self.project.config)
        bits = "w4a4" if recipe in FOUR_BITS else "w8a8"
        cfg.qconfig = Config.fromfile(REPO / f"configs/_base_/quant/{bits}.py").qconfig
        cfg.calib_cfg = {
            "method": recipe,
            "num_images": NUM_IMAGES,
            "baseline": False,
            "eval_float": recipe == "mmse_w8a8",
            "steps": STEPS[recipe],
        }
        cfg.work_dir = str(self._folder / recipe)
        cfg.launcher = "none"
        return ObservedRunner.from_cfg(cfg)

    @cached_property
    def mmse(self) -> tuple[ObservedRunner, Results]:
        """The finished run at W8A8."""
        runner = self.runner("mmse_w8a8")
        return runner, runner.calibrate()

    @cached_property
    def float_model(self) -> nn.Module:
        """The float detector, by MMDetection alone."""
        return build_float(self.project.config, self.family.gain)

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """The validation images behind the test pipeline."""
        dataset = DATASETS.build(copy.deepcopy(self.project.config.test_dataloader.dataset))
        return [dataset[i] for i in range(len(dataset))]

    def detect(self, model: nn.Module) -> list[Any]:
        """What ``model`` finds in each validation image."""
        with torch.no_grad():
            return [
                model.test_step(pseudo_collate([copy.deepcopy(sample)]))[0].pred_instances
                for sample in self.samples
            ]


@torch.no_grad()
def training_loss(model: Any, batch: dict[str, Any]) -> dict[str, float]:
    """MMDetection's own loss: ``model`` in training mode, but for norms and dropout.

    Args:
        model: A float detector.
        batch: Preprocessed.

    Returns:
        The sum of each component.
    """
    model.train()
    for module in model.modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if norm or "Drop" in type(module).__name__ or isinstance(module, nn.MultiheadAttention):
            module.eval()
    MessageHub.get_current_instance().update_info("epoch", 100)
    try:
        with frozen_random():
            losses = model.loss(batch["inputs"], batch["data_samples"])
    finally:
        MessageHub.get_current_instance().pop_info("epoch")
        model.eval()
    return sums(losses)


def sums(losses: Mapping[str, Any]) -> dict[str, float]:
    """The components that count, each summed over its tensors."""
    return {
        key: sum(float(t.double().mean()) for t in flatten_tensors(value))
        for key, value in losses.items()
        if "loss" in key
    }


def matched(wanted: Any, found: Any, least_iou: float = 0.5) -> Tensor:
    """Which of the detections ``wanted`` are among ``found``: same class, nearly the same box.

    Boxes turned inside out, which random weights give as well, are left out.
    """
    wanted = wanted[((wanted.bboxes[:, 2:] - wanted.bboxes[:, :2]) > 0).all(1)]
    iou = _iou(wanted.bboxes, found.bboxes)
    same = wanted.labels[:, None] == found.labels[None]
    return ((iou >= least_iou) & same).any(1)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    return common / (area_a[:, None] + area_b[None] - common).clamp(min=1e-9)
