"""One cell: a run of the product, what it cost, and how far it ends from the float model."""

import gc
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

from cells import write_json
from peak_memory import peak_mb, reset_peak
from records import origin
from silence import quiet

from comparison.held_out import HeldOutDistance
from comparison.kept import HITS_FILE, KeepHits, keep_draws
from comparison.models import MODELS, main_figure
from comparison.places import Places, read_model_config
from comparison.plan import Cell
from comparison.specs import reads_labels
from mmptq.apis.state import restored_state
from mmptq.evaluation import model_cost
from mmptq.evaluation.detections import detections_file
from mmptq.runner import CalibrationRunner

STAGES, RECIPE_FILE = "stages", "recipe.json"
ROW = "cell"  # the method's label in the run, by which its detections are called
# MMDetection gives fractions of three decimals, torch's floats show more digits than they have.
DIGITS = 6


def measure(cell: Cell, places: Places, work_dir: Path) -> dict[str, Any]:
    """Figures of a cell; one that was killed goes on where it was.

    Its detections and its draws of test images stay in its folder, beside the logs of its steps.
    """
    folder = cell.folder(work_dir)
    begin_folder(cell, folder)
    begin = time.perf_counter()
    with restored_state(), quiet():
        runner = make_runner(cell, places, folder)
        found = _float(runner) if cell.spec is None else _quantized(cell, runner)
        metrics = _evaluated(runner, folder)
        value = main_figure(metrics, MODELS[cell.model].metric)
        file, annotations = _found_file(cell, runner, folder)
        keep_draws(folder, file, annotations, value)
    del runner
    gc.collect()
    shutil.rmtree(folder / STAGES, ignore_errors=True)
    return {
        **metrics,
        **found,
        "cell_seconds": round(time.perf_counter() - begin, 1),
        **origin(),
    }


def begin_folder(cell: Cell, folder: Path) -> None:
    """Write down what decides the cell; what another recipe left there is removed."""
    file = folder / RECIPE_FILE
    if file.exists() and json.loads(file.read_text()) != cell.decides:
        shutil.rmtree(folder)
    write_json(file, cell.decides)


def make_runner(cell: Cell, places: Places, folder: Path) -> CalibrationRunner:
    """A silent runner of a cell that keeps what it finds on the test images."""
    model = MODELS[cell.model]
    cfg = read_model_config(cell.model, places, folder)
    steps: list[dict[str, Any]] = [dict(type="RangeCalibration")]  # of the float model: never run
    if cell.spec is not None and cell.column is not None:
        cfg.qconfig = cell.column.qconfig(cfg.qconfig.to_dict())
        if cell.overrides:
            cfg.qconfig.overrides = [*cell.overrides, *cfg.qconfig.get("overrides", [])]
        steps = cell.steps
    cfg.calib_cfg = dict(
        method=ROW,
        num_images=cell.num_images,
        seed=cell.seed,
        batch_size=model.batch_size,
        baseline=False,
        eval_float=False,
        units=cfg.get("calib_cfg", {}).get("units", []),
        steps=steps,
        **(cell.spec.calibration if cell.spec else {}),
    )
    cfg.resume = True
    if model.metric != "top1":
        cfg.calib_hooks.detections = dict(type="mmptq.KeepDetectionsHook")
    runner = CalibrationRunner.from_cfg(cfg)
    if model.metric == "top1":
        runner.register_hook(KeepHits(folder))
    return runner


def _float(runner: CalibrationRunner) -> dict[str, Any]:
    runner.setup()
    return {"size_mb": round(model_cost(runner.profile).float_size_mb, 3)}


def _quantized(cell: Cell, runner: CalibrationRunner) -> dict[str, Any]:
    context = runner.setup()
    runner.prepare_model(context)
    distance = HeldOutDistance(runner, context, MODELS[cell.model].held_out)
    reset_peak()
    seconds = runner.run_recipe(context)
    peak = peak_mb()
    cost = model_cost(runner.profile, runner.model.plan)
    return {
        **cell.decides,
        "labels": reads_labels(cell.steps),
        "iters": next((s.iters for s in runner.settings.steps if hasattr(s, "iters")), None),
        "seconds": round(context.statistics_seconds + seconds, 1),
        "peak_mb": peak,
        "size_mb": round(cost.size_mb, 3),
        "gbops": round(cost.gbops, 3),
        "verdicts": [{**verdict.to_json(), "kept": verdict.kept} for verdict in runner.verdicts],
        **_distances(distance),
        **_units(Path(runner.work_dir)),
    }


def _evaluated(runner: CalibrationRunner, folder: Path) -> dict[str, float]:
    detections_file(folder, ROW).unlink(missing_ok=True)  # of an earlier attempt
    metrics = runner.evaluate(ROW)
    return {key: round(value, DIGITS) for key, value in metrics.items() if isinstance(value, float)}


def _found_file(cell: Cell, runner: CalibrationRunner, folder: Path) -> tuple[Path, str | None]:
    """What was kept of the test images, and their annotations."""
    if MODELS[cell.model].metric == "top1":
        return folder / HITS_FILE, None
    return detections_file(folder, ROW), str(runner.cfg.test_evaluator.ann_file)


def _distances(measured: HeldOutDistance) -> dict[str, Any]:
    """None for what is not finite, which JSON does not know."""
    distance, kinds = measured()
    return {"distance": _finite(distance), "distances": [_finite(kind) for kind in kinds]}


def _finite(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None


def _units(folder: Path) -> dict[str, Any]:
    """Of the last step that adjusts units: iterations a unit, sums of the units' losses, stops."""
    files = sorted(folder.glob("reconstruction/*/summary.json"), key=lambda f: f.stat().st_mtime)
    if not files:
        return {}
    units = json.loads(files[-1].read_text())
    sums = {key: sum(unit[key] for unit in units) for key in ("before", "after")}
    return {
        "units": len(units),
        "stops": sum(unit["stops"] for unit in units),
        "forced": sum(unit["forced"] for unit in units),
        **{f"unit_losses_{key}": float(f"{value:.6g}") for key, value in sums.items()},
    }
