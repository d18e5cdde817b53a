"""A collapse is found in the rows, and told with what to do."""

from typing import Any

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmptq.evaluation import ResultRow, Results
from mmptq.models import QConfig
from mmptq.runner.explain import explain_collapse, lost_share
from tests.calibration_support import MakeContext, make_context

__all__ = ["make_context"]

W8A8: dict[str, Any] = dict(weight=dict(num_bits=8), act=dict(num_bits=8))


def results(quantized: dict[str, float], reference: float = 0.5) -> Results:
    rows = [
        ResultRow("float", "-", 32, 32, {"bbox_mAP": reference}),
        ResultRow("mmse", "full", 8, 8, quantized),
    ]
    return Results("c.py", rows=rows)


@pytest.mark.parametrize(
    ("left", "lost"), [({"bbox_mAP": 0.45}, 0.1), ({"bbox_mAP": 0.0}, 1.0), ({}, 1.0)]
)
def test_lost_share(left: dict[str, float], lost: float) -> None:
    assert lost_share(results(left)) == pytest.approx(lost)


def test_nothing_to_lose() -> None:
    assert lost_share(results({"bbox_mAP": 0.1}, reference=0.0)) is None
    assert lost_share(Results("c.py", rows=results({}).rows[:1])) is None


def test_the_option_is_written_and_its_layers_named(
    make_context: MakeContext, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    MMLogger.get_instance("explain")
    # What it had stays, whether it is blamed or not.
    old = {**W8A8, "overrides": [dict(pattern="backbone.*conv1", act=None)]}
    context = make_context("retinanet", qconfig=old)
    quantizer = context.model.sites["backbone.layer2.0.conv2:0"]
    quantizer.set_range(quantizer.range_low * 0.01, quantizer.range_high * 0.01)
    lines = explain_collapse(context, results({"bbox_mAP": 0.3}), old, str(tmp_path))
    printed = capsys.readouterr().out
    assert "\n".join(lines) in printed
    assert "mmse at W8A8 lost 40 % of the float model's accuracy" in printed
    assert "input of backbone.layer2.0.conv2: 8 bit" in printed and "more_bits.py" in printed
    qconfig = QConfig.parse(Config.fromfile(tmp_path / "more_bits.py").qconfig)
    _, act = qconfig.resolve("backbone.layer2.0.conv2", ())
    assert act is not None and act.num_bits == 16
    assert qconfig.resolve("backbone.conv1", ())[1] is None


def test_a_small_loss_needs_no_explanation(make_context: MakeContext, tmp_path: Any) -> None:
    context = make_context("retinanet", qconfig=W8A8)
    assert explain_collapse(context, results({"bbox_mAP": 0.41}), W8A8, str(tmp_path)) == []
    assert not list(tmp_path.glob("more_bits.py"))
