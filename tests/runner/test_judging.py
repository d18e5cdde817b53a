"""What a step learned is measured on images that it did not see; the better of both stays."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mmptq.algorithms import BiasCorrection
from mmptq.algorithms.base import Step
from mmptq.engine import CalibrationContext
from mmptq.evaluation.verdict import Verdict
from mmptq.registry import STEPS
from mmptq.runner import CalibrationRunner
from tests.tiny_project import TinyProject

MMSE = dict(type="LpNormObserver", p=2.0)
RANGES = dict(type="RangeCalibration", weight=MMSE, act=MMSE)
QDROP = dict(type="QDrop", iters=20, batch_size=2)
BIAS = dict(type="BiasCorrection", mode="measured")


@pytest.fixture(scope="module", autouse=True)
def steps() -> Any:
    """Registers the steps of this file, for this file."""
    STEPS.register_module(module=Scale)
    yield
    del STEPS._module_dict["Scale"]


class Scale(Step):
    """'Learns' other weights and ranges, and draws random numbers."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    @property
    def judged_by(self) -> Mapping[str, Any]:
        return {"type": "LastStageDistance"}

    @torch.no_grad()
    def run(self, context: CalibrationContext) -> None:
        self.drawn = torch.rand(3)
        context.model.forget_bias_corrections()
        for _, layer in context.model.quant_layers():
            layer.weight.mul_(self.factor)
        for quantizer in context.model.sites.values():
            quantizer.scale.mul_(self.factor)


def make_runner(
    project: TinyProject, work_dir: Path, *steps: dict[str, Any], **settings: Any
) -> CalibrationRunner:
    cfg = project.load(work_dir)
    cfg.calib_cfg.update(dict(steps=list(steps), method="learned", baseline=False, num_images=3))
    cfg.calib_cfg.update(settings)
    cfg.calib_hooks = dict(pictures=None, report=None)
    cfg.experiment_name = cfg.visualizer.name = f"judged_{work_dir.name}_{id(cfg)}"
    return CalibrationRunner.from_cfg(cfg)


@pytest.fixture
def project(tiny_project: Any) -> TinyProject:
    return tiny_project("retinanet")


def state(runner: CalibrationRunner) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[key], other[key]) for key in one)


def test_what_is_worse_is_taken_back(project: TinyProject, tmp_path: Path) -> None:
    plain = make_runner(project, tmp_path / "plain", RANGES, BIAS)
    plain_rows = plain.calibrate().rows
    runner = make_runner(project, tmp_path / "judged", RANGES, BIAS, dict(type="Scale", factor=3.0))
    results = runner.calibrate()
    assert same(state(runner), state(plain))
    assert results.rows[-1].metrics == plain_rows[-1].metrics
    (verdict,) = runner.verdicts
    assert (verdict.step, verdict.images, verdict.kept) == ("Scale", 6, False)
    assert verdict.after > verdict.before > 0.0
    saved = json.loads((tmp_path / "judged/results.json").read_text())["calibration"]["verdicts"]
    assert saved == [verdict.to_json()]
    (log,) = (tmp_path / "judged").rglob("*.log")
    assert log.read_text().count("worse than the step's start, which is kept in its place") == 2


def test_what_is_better_is_kept_and_the_check_changes_nothing(
    project: TinyProject, tmp_path: Path
) -> None:
    judged = make_runner(project, tmp_path / "judged", RANGES, QDROP)
    judged.calibrate()
    assert [verdict.kept for verdict in judged.verdicts] == [True]
    assert judged.verdicts[0].objective == "LastStageDistance"
    alone = make_runner(project, tmp_path / "alone", RANGES, QDROP, check_images=0)
    alone.calibrate()
    assert alone.verdicts == ()
    assert same(state(judged), state(alone))


def test_a_resumed_run_knows_the_verdicts(project: TinyProject, tmp_path: Path) -> None:
    steps = (RANGES, dict(type="Scale", factor=3.0))
    first = make_runner(project, tmp_path, *steps)
    first.calibrate()
    again = make_runner(project, tmp_path, *steps)
    again.resume_stages = True
    again.calibrate()
    assert again.verdicts == first.verdicts != ()
    assert same(state(again), state(first))


@pytest.mark.parametrize("factor", [None, 3.0])
def test_a_run_killed_behind_rounded_weights_ends_in_the_same_result(
    project: TinyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float | None
) -> None:
    """The stage holds the float weights that the steps behind it compare with."""
    steps = [RANGES, dict(type="GPTQ"), BIAS]
    if factor is not None:  # what is worse than its start is taken back, to the same float weights
        steps.insert(2, dict(type="Scale", factor=factor))
    whole = make_runner(project, tmp_path / "whole", *steps)
    whole.calibrate()
    killed = make_runner(project, tmp_path / "killed", *steps)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(BiasCorrection, "run", interrupt)
        killed.calibrate()
    resumed = make_runner(project, tmp_path / "killed", *steps)
    resumed.resume_stages = True
    resumed.calibrate()
    assert same(state(resumed), state(whole))
    assert resumed.model.float_weights() == {}  # the run has ended
    corrections = [v for k, v in state(whole).items() if k.endswith("bias_correction")]
    assert max(float(value.abs().max()) for value in corrections) > 0.0


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_the_images_are_no_calibration_images(project: TinyProject, tmp_path: Path) -> None:
    runner = make_runner(project, tmp_path, RANGES, QDROP, check_images=4)
    context = runner.setup()
    assert context.check_images is not None
    assert len(context.data.paths) == 3 and len(context.check_images.paths) == 4
    assert not set(context.data.paths) & set(context.check_images.paths)
    assert make_runner(project, tmp_path, RANGES).setup().check_images is None


def test_it_says_when_no_image_is_left(project: TinyProject, tmp_path: Path) -> None:
    runner = make_runner(project, tmp_path, RANGES, QDROP, num_images=9)
    assert runner.setup().check_images is None
    (log,) = tmp_path.rglob("*.log")
    assert "none is left to judge what the recipe learns of them" in log.read_text()


def test_verdicts_on_numbers_that_are_none() -> None:
    nan = math.nan
    kept = {pair: Verdict("A", "B", 1, *pair).kept for pair in ((1.0, 1.0), (1.0, nan), (nan, 1.0))}
    assert list(kept.values()) == [True, False, True]
    broken = Verdict("A", "B", 1, 1.0, nan)
    assert json.loads(json.dumps(broken.to_json()))["after"] is None
    assert math.isnan(Verdict.from_json(broken.to_json()).after)
