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
