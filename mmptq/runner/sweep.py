"""A recipe at several budgets of mixed precision, and at uniform bit-widths beside them."""

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmptq.algorithms import MixedPrecision
from mmptq.algorithms.mixed_precision.mixed_precision import MMSE
from mmptq.analysis import BitWidths
from mmptq.evaluation import ResultRow
from mmptq.registry import type_name
from mmptq.runner.calibration_runner import CalibrationRunner

UNIFORM = ("W8A8", "W6A6", "W4A8", "W4A4", "W2A4")
BUDGETS = ("W6A6", "W4A4", "W3A4")
STEP = MixedPrecision.__name__
COSTS = ("size_mb", "gbops")
UNIFORM_CURVE = "uniform"


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Args:
        name: Of its folder.
        budget: Costs that are limited; empty for uniform bits.
        like: Bits whose cost is the budget, or which all have.
        config: Of the run.
    """

    name: str
    budget: tuple[str, ...]
    like: str
    config: Config

    @property
    def curve(self) -> str:
        """What it is a point of."""
        return UNIFORM_CURVE if not self.budget else f"mixed, {' and '.join(self.budget)}"


def sweep_runs(
    cfg: Config, budgets: Sequence[str] = BUDGETS, uniform: Sequence[str] = UNIFORM
) -> list[SweepRun]:
    """All runs of a sweep, the uniform ones first.

    A recipe that names budgets in its MixedPrecision is swept over these; any other is, behind a
    MixedPrecision, over the size and over the bit operations.

    Args:
        cfg: Complete.
        budgets: Bits whose costs are the budgets, such as ``'W4A4'``.
        uniform: Bits of the runs beside them.
    """
    swept = _swept_costs(cfg)
    runs = [_uniform(cfg, bits) for bits in uniform]
    runs += [_mixed(cfg, costs, bits) for costs in swept for bits in budgets]
    for i, run in enumerate(runs):
        settings = run.config.calib_cfg
        settings.baseline = False
        # One measurement of the float model serves all.
        settings.eval_float = i == 0 and settings.get("eval_float", True)
    return runs


def run_sweep(runs: Sequence[SweepRun]) -> Iterator[tuple[SweepRun, list[ResultRow]]]:
    """Do them one after the other; each with the rows of its results.

    Raises:
        MmptqError: As one run does; what is finished is kept.
    """
    for run in runs:
        results = CalibrationRunner.from_cfg(run.config).calibrate()
        yield run, results.rows


def _uniform(cfg: Config, bits: str) -> SweepRun:
    run = _copy(cfg, f"uniform_{bits.lower()}")
    run.qconfig = BitWidths.parse(bits).apply(run.qconfig)
    steps = run.calib_cfg.steps
    mixed = next((step for step in steps if type_name(step) == STEP), None)
    if mixed is not None:
        at = steps.index(mixed)
        # Its ranges, at whatever bits there are.
        observers = {key: mixed[key] for key in ("weight", "act") if key in mixed}
        ranges = {"type": "RangeCalibration", "weight": MMSE, "act": MMSE, **observers}
        run.calib_cfg.steps = [*steps[:at], ranges, *steps[at + 1 :]]
        run.calib_cfg.method = run.calib_cfg.method.removeprefix("mixed_")
    return SweepRun(f"uniform_{bits.lower()}", (), bits, run)


def _mixed(cfg: Config, costs: tuple[str, ...], bits: str) -> SweepRun:
    name = f"{'_'.join(costs)}_{bits.lower()}"
    run = _copy(cfg, name)
    limits = dict.fromkeys(costs, bits)
    steps = run.calib_cfg.steps
    if any(type_name(step) == STEP for step in steps):
        run.calib_cfg.steps = [
            {**step, **limits} if type_name(step) == STEP else step for step in steps
        ]
    else:
        run.calib_cfg.steps = [dict(type=STEP, **limits), *steps]
        run.calib_cfg.method = f"mixed_{run.calib_cfg.method}"
    return SweepRun(name, costs, bits, run)


def _swept_costs(cfg: Config) -> list[tuple[str, ...]]:
    mixed: Mapping[str, Any] = next((s for s in cfg.calib_cfg.steps if type_name(s) == STEP), {})
    named = tuple(cost for cost in COSTS if mixed.get(cost) is not None)
    return [named] if named else [(cost,) for cost in COSTS]


def _copy(cfg: Config, name: str) -> Config:
    run = copy.deepcopy(cfg)
    run.work_dir = str(Path(cfg.work_dir) / "pareto" / name)
    name_apart(run, name)
    return run


def name_apart(cfg: Config, name: str) -> None:
    """Give a run a name of its own in this process.

    MMEngine keeps loggers and visualizers by name for the whole process.

    Args:
        cfg: Of the run.
        name: What it is.
    """
    cfg.experiment_name = f"{name}_{time.time_ns()}"
    if cfg.get("visualizer"):
        cfg.visualizer.name = cfg.experiment_name
