"""The picture is drawn whatever the values are; long names keep their ends."""

import math
from pathlib import Path

import cv2
import pytest

from mmptq.analysis.sensitivity import SensitivityReport
from mmptq.analysis.sensitivity.picture import SHOWN, draw_sensitivity, shortened
from tests.sensitivity_support import record

STAGES = ("stem", "layer1", "layer2", "neck", "rpn", "cls", "reg", "mask")


def report(count: int, *alone: float | None) -> SensitivityReport:
    records = [
        record(
            f"{STAGES[i % 8]}.layer{i}",
            stage=STAGES[i % 8],
            alone=alone[i % len(alone)],
            which="act" if i % 3 else "weight",
        )
        for i in range(count)
    ]
    return SensitivityReport(tuple(records), 0.1)


@pytest.mark.parametrize(
    "alone", [(0.1, 0.2), (math.nan, 0.5, 1e-6), (None,), (math.nan,), (0.0,)], ids=str
)
def test_any_values(alone: tuple[float | None, ...], tmp_path: Path) -> None:
    draw_sensitivity({"W4A4": report(40, *alone)}, tmp_path / "a.png")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None and picture.std() > 5.0
    assert (tmp_path / "a.png").stat().st_size < 150_000


def test_a_column_a_bit_width_and_rows_as_many_as_needed(tmp_path: Path) -> None:
    shapes = []
    for reports in (
        {"W4A4": report(5, 0.1)},
        {"W4A4": report(5 * SHOWN, 0.1)},
        {"W4A4": report(5, 0.1), "W8A8": report(7, 0.2)},
    ):
        draw_sensitivity(reports, tmp_path / "a.png")
        shapes.append(cv2.imread(str(tmp_path / "a.png")).shape)
    few, many, two = shapes
    assert many[0] > few[0] and many[0] < 1200
    assert two[1] > 1.5 * few[1]


def test_long_names_keep_both_ends() -> None:
    name = "backbone.stages.0.blocks.1.attn.w_msa.relative_position.qkv.weight"
    assert len(shortened(name)) == 44
    assert shortened(name).startswith("backbone.") and shortened(name).endswith("qkv.weight")
    assert shortened("backbone.conv1.act") == "backbone.conv1.act"
