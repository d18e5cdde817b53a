"""tools/analyze.py: every sub-command at a tiny size, killed runs, bad input."""

import json
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.runner import Runner

from mmptq.algorithms import RangeCalibration
from mmptq.engine import LossEvaluator
from mmptq.runner import CalibrationRunner
from tests.tiny_project import REPO, TinyProject

Analyze = Callable[..., dict[str, Any]]


@pytest.fixture
def analyze(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Analyze:
    """``analyze(command, options, family)``: what it wrote, the picture checked."""
    # Asking every compiler for its version takes longer than all the rest.
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)

    def run(command: str, options: str, family: str = "retinanet") -> dict[str, Any]:
        config = tiny_project(family).config
        words = [command, config, "--work-dir", tmp_path, *options.split()]
        monkeypatch.setattr(sys, "argv", ["analyze.py", *map(str, words)])
        runpy.run_path(str(REPO / "tools/analyze.py"), run_name="__main__")
        picture = cv2.imread(str(tmp_path / f"analysis/{command}.png"))
        assert picture is not None and picture.std() > 5.0
        return json.loads((tmp_path / f"analysis/{command}.json").read_text())

    return run


def finite(values: Any) -> bool:
    return bool(np.isfinite(np.array(values, dtype=float)).all())


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_surface(family, analyze, capsys):
    options = "--bits 3/4 --points 3 --span 0.5 1.5 --images 2"
    found = analyze("surface", options, family=family)
    assert found["images"] == 2 and found["scope"] == "full"
    surface = found["results"]["W3A4"]
    assert finite(surface["loss"]) and len(surface["loss"]) == 3
    assert surface["loss"][1][1] == surface["at_mmse"]
    printed = capsys.readouterr().out
    assert "W3A4" in printed and "backbone.layer1.0.conv1.act" in printed
    assert f"{surface['at_mmse']:.4f}" in printed


def test_metric_over_p_is_the_metric_of_the_recipe(analyze, calibrated):
    """At 8 bits and p = 2 that is the project's own recipe, MMSE."""
    found = analyze("metric-p", "--bits 8/8 --points 2 --p-range 2 3")["results"]["W8A8"]
    assert found["values"][0] == calibrated("retinanet").metrics["bbox_mAP"]
    assert all(finite(curve) for curve in found["errors"]["curves"].values())


def test_loss_over_p(analyze):
    options = "--loss --bits 4/4 --points 2 --images 2 --objective OutputDistance"
    values = analyze("metric-p", options)["results"]["W4A4"]["values"]
    assert finite(values) and len(set(values)) == 2


def test_p_path(analyze):
    found = analyze("p-path", "--bits 4/4 --points 3 --images 2")["results"]["W4A4"]
    assert found["p"] == [2.0, 3.0, 4.0] and finite(found["values"])
    assert np.polyval(found["parabola"], 3.0) == pytest.approx(found["values"][1])


def test_hessian(analyze, capsys):
    options = "--bits 4/4 2/2 --tensors backbone.layer1.* --max-tensors 2 --images 1"
    found = analyze("hessian", options)["results"]
    assert list(found) == ["W4A4", "W2A2"]
    for result in found.values():
        assert finite(result["hessian"]) and np.shape(result["hessian"]) == (2, 2)
        assert all(name.startswith("backbone.layer1.") for name in result["names"])
        assert math.isfinite(result["K"]["0.2"]["raw"]["log10"])
    assert "h = 0.4" in capsys.readouterr().out


def test_landscape_and_its_resume(analyze, tmp_path, monkeypatch):
    options = "--bits 4/4 --points 3 --radius 0.2"
    found = analyze("landscape", f"{options} --images 1")
    assert list(found["results"]) == ["float", "W4A4"]
    assert found["results"]["float"]["centre"] != found["results"]["W4A4"]["centre"]
    # Killed after two of the quantized model's points, in the middle of the third's line.
    log = tmp_path / "analysis/landscape_w4a4/stages/landscape_W4A4.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:3], lines[3][:8]]))
    calls = []
    whole = LossEvaluator.__call__
    monkeypatch.setattr(LossEvaluator, "__call__", lambda self: calls.append(1) or whole(self))
    again = analyze("landscape", f"{options} --images 1 --resume")
    assert again["results"] == found["results"]
    assert len(calls) == 9 - 2
    with pytest.raises(SystemExit, match="error: --resume: .*num_images = 1, now it is 2"):
        analyze("landscape", f"{options} --images 2 --resume")


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("surface", "--bits 4", "bits '4': must be like 4/8 or W4A8"),
        ("surface", "--points 2", "--points 2: must be 3 or more"),
        ("surface", "--span 2 1", "--span 2 1: must be 0 < first < second"),
        ("p-path", "--p-range 0 4", "--p-range 0 4: must be 0 < first < second"),
        ("landscape", "--points 4", "--points 4: must be odd"),
        ("landscape", "--radius 0", "--radius 0: must be greater than 0"),
        ("hessian", "--step 0.6", "--step 0.6: must lie between 0 and 0.5"),
        ("hessian", "--max-tensors -1", r"--max-tensors -1: must be 0 \(all\) or more"),
        ("hessian", "--objective TaskLos", "--objective.type: .* did you mean 'TaskLoss'"),
        ("hessian", "--images 0", "--images 0: must be 1 or more"),
        ("p-path", "--cfg-options calib_cfg.numimages=3", "calib_cfg.numimages: unknown key"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(
    command, options, message, analyze, monkeypatch
):
    monkeypatch.setattr(CalibrationRunner, "setup", lambda self: pytest.fail("too late"))
    with pytest.raises(SystemExit, match=f"error: {message}"):
        analyze(command, options)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("hessian", "--tensors backbone.none"),
        ("surface", "--tensors *.act backbone.none"),
        ("metric-p", "--tensor backbone.none"),
    ],
)
def test_unknown_step_is_named_before_any_pass_over_the_images(
    command, option, analyze, monkeypatch
):
    monkeypatch.setattr(RangeCalibration, "run", lambda *_: pytest.fail("too late"))
    with pytest.raises(SystemExit, match="error: no step's name fits 'backbone.none'; there are"):
        analyze(command, f"--bits 4/4 --images 1 {option}")
