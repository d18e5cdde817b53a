"""All methods on crops of their units' maps."""

from typing import Any

import pytest

from mmptq.errors import ConfigError
from tests.calibration_support import MakeContext, make_context
from tests.steps_support import SMALL, make_step, run, same, summary

__all__ = ["make_context"]


@pytest.mark.parametrize("method", ["adaround", "fisher", "outputs", "qdrop", "shrink"])
def test_on_crops(make_context: MakeContext, method: str) -> None:
    """Better than the start on the whole maps' data too; the summary names who has crops."""
    step = make_step(method, crop=5)
    context = make_context("retinanet", qconfig=SMALL)
    learned = run(context, step)
    units = {unit["name"]: unit for unit in summary(context, step)}
    assert all(unit["after"] <= unit["before"] for unit in units.values())
    assert sum(u["after"] / u["before"] for u in units.values()) / len(units) < 0.95
    assert units["backbone.conv1"]["maps"] == "crops"
    assert all(
        u["maps"] in ("crops", "whole: no map is much larger than a crop") for u in units.values()
    )
    assert not same(
        learned, run(make_context("retinanet", qconfig=SMALL, folder="w"), make_step(method))
    )


@pytest.mark.parametrize("crop", [0, -3, 4.0, "48", True])
@pytest.mark.parametrize("method", ["adaround", "learned_steps", "direct"])
def test_a_crop_is_a_whole_number(method: str, crop: Any) -> None:
    with pytest.raises(ConfigError, match=rf"\.crop = {crop!r}: must be a whole number from 1"):
        make_step(method, crop=crop)
