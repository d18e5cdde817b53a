"""What the benchmarks of classification share: models, runners, top-1."""

import logging
import re
from pathlib import Path
from typing import Any

from arguments import ROOT
from mmengine.config import Config

from mmptq.runner import CalibrationRunner
from mmptq.runner.prepare_config import set_data_root

MODELS = {"resnet20": "resnet20_cifar10", "resnet56": "resnet56_cifar10"}


def bits_of(text: str) -> tuple[int, int]:
    """``(weights, activations)`` of ``W4A4``; 32 is float.

    Raises:
        SystemExit: The text has another form.
    """
    found = re.fullmatch(r"W(\d+)A(\d+)", text)
    if not found:
        raise SystemExit(f"--bits {text}: must have the form W4A4 (32 for float)")
    return int(found[1]), int(found[2])


def make_runner(
    data_root: str,
    model: str,
    bits: tuple[int, int],
    work_dir: Path,
    symmetric: bool,
    **calib: Any,
) -> CalibrationRunner:
    """A silent runner of a float model.

    Args:
        data_root: Images and float models.
        model: A key of :data:`MODELS`.
        bits: Of weights and activations, 32 for float.
        work_dir: Of the run.
        symmetric: Whether weights are quantized symmetrically.
        calib: Changes of ``calib_cfg``.
    """
    cfg = Config.fromfile(ROOT / f"configs/classification/{MODELS[model]}_w4a4_mmse.py")
    set_data_root(cfg, data_root)
    weight, act = bits
    cfg.qconfig = dict(
        scope="full",
        weight=None if weight == 32 else dict(num_bits=weight, symmetric=symmetric),
        act=None if act == 32 else dict(num_bits=act),
    )
    cfg.calib_cfg.update(calib)
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None)
    cfg.work_dir, cfg.launcher, cfg.resume = str(work_dir), "none", True
    cfg.log_level = "WARNING"
    # MMEngine keeps loggers and visualizers by name for the whole process.
    cfg.experiment_name = cfg.visualizer.name = "_".join(work_dir.parts)
    return CalibrationRunner.from_cfg(cfg)


def top1(runner: CalibrationRunner) -> float:
    """Top-1 on the test set, in percent."""
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    metrics = runner.evaluate("benchmark")
    return round({key.rpartition("/")[2]: value for key, value in metrics.items()}["top1"], 2)
