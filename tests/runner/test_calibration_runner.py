import json

import pytest
import torch

from mmptq.runner import CalibrationRunner


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_setup_leaves_the_float_weights_as_they_are(tiny_project, tmp_path, family):
    """The checks run the model: its batch norms must not learn from that."""
    project = tiny_project(family)
    cfg = project.load(tmp_path)
    cfg.experiment_name = cfg.visualizer.name = f"setup_{family}"
    runner = CalibrationRunner.from_cfg(cfg)
    runner.setup()
    saved = torch.load(project.checkpoint, weights_only=True)["state_dict"]
    loaded = runner.model.model.state_dict()
    assert set(saved) <= set(loaded)
    assert all(torch.equal(value, loaded[name]) for name, value in saved.items())


def test_it_says_how_much_is_quantized(calibrated) -> None:
    run = calibrated("retinanet")
    rows = json.loads((run.work_dir / "results.json").read_text())["rows"]
    assert [row["mac_share"] for row in rows] == [None, 1, 1]
    assert "100.0 %" in run.results.to_text(width=200)
    (log,) = run.work_dir.rglob("*.log")
    assert "both operands of 100.0 % of the multiply-adds are quantized" in log.read_text()
