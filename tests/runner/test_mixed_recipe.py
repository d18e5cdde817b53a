"""A whole run with mixed precision: its row, its checkpoint, a resumed run, a limit of the drop."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config

from mmptq.algorithms import MixedPrecision, RangeCalibration
from mmptq.errors import ConfigError, MmptqError
from mmptq.evaluation import Results, model_cost
from mmptq.models import Plan
from mmptq.runner import CalibrationRunner
from tests.tiny_project import TinyProject

MIXED = dict(type="MixedPrecision", gbops="W4A4", weight_bits=[2, 4, 8], act_bits=[4, 8], images=2)
BIAS = dict(type="BiasCorrection")


def make_runner(
    project: TinyProject, work_dir: Path, steps: list[dict[str, Any]], **changes: Any
) -> CalibrationRunner:
    settings = dict(steps=steps, method="mixed", baseline=False, num_images=3)
    cfg = project.load(work_dir, **changes)
    cfg.calib_cfg.update(settings)
    cfg.calib_hooks = dict(pictures=None)
    cfg.experiment_name = cfg.visualizer.name = f"mixed_{work_dir.name}_{id(cfg)}"
    return CalibrationRunner.from_cfg(cfg)


@pytest.fixture(scope="module")
def finished(tiny_project: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    work_dir = tmp_path_factory.mktemp("mixed")
    runner = make_runner(tiny_project("retinanet"), work_dir, [MIXED, BIAS])
    return work_dir, runner, runner.calibrate()


def test_the_row_shows_the_plan_that_was_chosen(finished: Any) -> None:
    work_dir, runner, results = finished
    row, plan = results.rows[-1], runner.model.plan
    assert plan != runner.plan
    cost = model_cost(runner.profile, plan)
    assert (row.size_mb, row.gbops) == (cost.size_mb, cost.gbops)
    assert (row.w_bits, row.a_bits) == cost.mean_bits()
    assert 2.0 <= row.w_bits <= 8.0 and row.bits != "W8A8"
    saved = json.loads((work_dir / "results.json").read_text())["rows"][-1]
    assert saved["w_bits"] == row.w_bits


def test_the_report_shows_it(finished: Any) -> None:
    work_dir, runner, _ = finished
    page = (work_dir / "report.html").read_text()
    assert "distances add up" in page
    layers = json.loads((work_dir / "run.json").read_text())["layers"]
    planned = {x.name: x.weight.num_bits for x in runner.model.plan.layers if x.weight is not None}
    assert {x["name"]: x["weight_bits"] for x in layers} == planned
    assert len(set(planned.values())) > 1


def test_mmdetection_reloads_it_to_the_same_outputs(finished: Any) -> None:
    work_dir, runner, _ = finished
    model = init_detector(str(work_dir / Path(runner.cfg.filename).name),
                          str(work_dir / "quantized.pth"), device="cpu")  # fmt: skip
    assert model.plan == runner.model.plan
    image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model(image, mode="tensor")
        wanted = runner.model(image, mode="tensor")
    for a, b in zip(found, wanted, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_its_qconfig_gives_the_same_plan(finished: Any, tiny_project: Any, tmp_path: Path) -> None:
    work_dir, runner, _ = finished
    qconfig = Config.fromfile(work_dir / "mixed_precision_qconfig.py").qconfig
    again = make_runner(tiny_project("retinanet"), tmp_path, [dict(type="RangeCalibration")])
    again.cfg.qconfig = qconfig
    again.setup()
    assert again.plan == runner.model.plan


def test_a_run_killed_behind_the_step_ends_in_the_same_model(
    finished: Any, tiny_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, wanted, results = finished
    project = tiny_project("retinanet")
    killed = make_runner(project, tmp_path, [MIXED, BIAS])
    with monkeypatch.context() as patch:
        bias = type(killed.settings.steps[1])
        patch.setattr(bias, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            killed.calibrate()
    resumed = make_runner(project, tmp_path, [MIXED, BIAS], resume=True)
    monkeypatch.setattr(MixedPrecision, "run", None)  # is not run again
    found = resumed.calibrate()
    assert found.rows[-1].metrics == results.rows[-1].metrics
    assert found.rows[-1].bits == results.rows[-1].bits
    a, b = resumed.model.state_dict(), wanted.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert Plan.from_tensor(a["quant_plan"]) == wanted.model.plan


def test_a_limit_of_the_drop_is_kept(tiny_project: Any, tmp_path: Path) -> None:
    step = {**MIXED, "gbops": None, "max_drop": 30.0, "evaluations": 3}
    runner = make_runner(tiny_project("retinanet"), tmp_path, [step])
    results: Results = runner.calibrate()
    reference, row = results.rows[0], results.rows[-1]
    assert 100 * (reference.metrics["bbox_mAP"] - row.metrics["bbox_mAP"]) <= 30.0
    tried = json.loads((tmp_path / "mixed_precision.json").read_text())["tried"]
    (chosen,) = (t for t in tried if t["chosen"])
    assert chosen["drop"] == pytest.approx(
        100 * (reference.metrics["bbox_mAP"] - row.metrics["bbox_mAP"])
    )


def test_a_drop_that_cannot_be_kept_ends_the_run(tiny_project: Any, tmp_path: Path) -> None:
    step = {**MIXED, "gbops": None, "max_drop": 0.0, "weight_bits": [2], "act_bits": [2, 3]}
    runner = make_runner(tiny_project("retinanet"), tmp_path, [step])
    with pytest.raises(MmptqError, match="with the most bits there are to choose"):
        runner.calibrate()


def test_an_impossible_budget_is_refused_before_any_work(
    tiny_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RangeCalibration, "run", None)
    runner = make_runner(tiny_project("retinanet"), tmp_path, [{**MIXED, "gbops": 1e-9}])
    with pytest.raises(ConfigError, match=r"MixedPrecision\.gbops = 1e-09: the least possible is"):
        runner.setup()
    assert not (tmp_path / "stages").exists() or not list((tmp_path / "stages").glob("*.pth"))
