"""Whole runs: over two processes or killed and resumed they end in the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmptq.engine import StageStore
from mmptq.observers import TensorStatistics
from mmptq.runner import CalibrationRunner
from tests.calibration_support import MMSE
from tests.process_support import Tool, load, same, two_processes
from tests.tiny_project import TinyProject

SHARED = """
calib_cfg = dict(
    method="equalized",
    num_images=5,
    baseline=False,
    eval_float=False,
    steps=[dict(type="Equalization", explicit=True), dict(type="RangeCalibration")],
)
"""


def test_two_processes_find_the_factors_of_one(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    tool = Tool(tmp_path, tiny_project("retinanet").config, SHARED)
    tool.run(tmp_path / "one")
    tool.run(tmp_path / "two", "--launcher", "pytorch", launcher=two_processes())
    one, two = (load(tmp_path / run / "quantized.pth")["state_dict"] for run in ("one", "two"))
    assert any(key.endswith(".input_factor") for key in one)
    assert same(one, two)


RECIPE = [
    dict(type="Equalization", explicit=True),
    dict(type="RangeCalibration", weight=MMSE, act=MMSE),
    dict(type="BiasCorrection"),
]


class KilledError(Exception):
    """In place of a signal."""


@pytest.mark.parametrize("survives", ["step_00_Equalization", "step_01_RangeCalibration"])
def test_resumed_it_ends_in_the_same_bits(
    survives: str,
    tiny_project: Callable[[str], TinyProject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(folder: str, **changes: Any) -> CalibrationRunner:
        cfg = tiny_project("retinanet").load(tmp_path / folder, **changes)
        cfg.calib_cfg.steps, cfg.calib_cfg.eval_float = RECIPE, False
        cfg.calib_cfg.baseline = False
        cfg.experiment_name = cfg.visualizer.name = f"{folder}_{survives}_{len(changes)}"
        runner = CalibrationRunner.from_cfg(cfg)
        runner.calibrate()
        return runner

    whole = run("whole")
    save = StageStore.save

    def dying(self: StageStore, stage: str, content: Any) -> None:
        save(self, stage, content)
        if stage == survives:
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(StageStore, "save", dying)
        run("killed")
    resumed = run("killed", resume=True)
    states = [runner.model.state_dict() for runner in (whole, resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    # The ranges are those of the equalized activations.
    highs = []
    for stage in ("statistics", "statistics_00"):
        saved = torch.load(tmp_path / f"whole/stages/{stage}.pth", weights_only=True)
        state = saved["sites"]["backbone.layer1.0.conv2:0"]
        highs.append(TensorStatistics.from_state_dict(state).high)
    assert not torch.equal(*highs)
