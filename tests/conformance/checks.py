"""What detectors and classifiers of the conformance test have to show alike."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmptq.evaluation import model_cost
from tests.conformance.recipes import FamilyRun

LEAST_MAC_SHARE = 0.99
# Share of the outputs' variance that 8 bits destroy: 10 dB. Wrong wiring (a scale of another layer,
# a fold left out) destroys most of it; rounding alone was measured at 0.0002 to 0.074.
LARGEST_DISTANCE = 0.1


def check_plan(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """Nearly all multiply-adds are quantized, but for what the family is known to leave."""
    runner = run.runner("plan")
    runner.setup()
    cost = model_cost(runner.profile, runner.plan)
    record("mac_share", cost.mac_share)
    left = {kind.kind for kind in cost.float_kinds if kind.share >= 1 - LEAST_MAC_SHARE}
    assert left == set(run.family.in_float)


def check_reconstruction(run: FamilyRun, recipe: str, step: str) -> None:
    runner = run.runner(recipe)
    runner.calibrate()
    summary = Path(runner.work_dir) / "reconstruction" / step / "summary.json"
    units = json.loads(summary.read_text())
    layers = [layer for _, layer in runner.model.quant_layers() if hasattr(layer, "weight")]
    assert sum(unit["layers"] for unit in units) == len(layers)
    for unit in units:
        assert math.isfinite(unit["before"]) and math.isfinite(unit["after"]), unit["name"]
        assert unit["after"] <= unit["before"], unit["name"]
