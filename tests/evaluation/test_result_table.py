import math

import pytest

from mmptq.evaluation.result_table import (
    best_row,
    build_table,
    columns,
    format_metric,
    format_seconds,
    metric_keys,
)
from mmptq.evaluation.row import ResultRow


def row(method, **metrics):
    return ResultRow(method, "full", 4, 4, metrics)


def cells(rows, title):
    return next(c.cells for c in columns(rows) if c.title == title)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("bbox_mAP", 0.3745, "37.5"),
        ("bbox_mAP", 0.0, "0.0"),
        ("bbox_mAP_l", -1.0, "-"),
        ("bbox_mAP", math.nan, "-"),
        ("bbox_mAP", None, "-"),
        ("top1", 76.52, "76.5"),
        ("loss", -1.23456, "-1.235"),
    ],
)
def test_metrics(key, value, text):
    assert format_metric(key, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (59.97, "1m00s"),
        (185, "3m05s"),
        (3720, "1h02m"),
    ],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_differences_are_points_and_missing_where_a_side_is():
    rows = [row("float", bbox_mAP=0.5), row("a", bbox_mAP=0.512), row("b", bbox_mAP=-1.0), row("c")]
    assert cells(rows, "vs float") == ["-", "+1.2", "-", "-"]
    assert cells([rows[0], row("same", bbox_mAP=0.49999)], "vs float") == ["-", "+0.0"]
    assert cells(rows[1:], "vs float") == ["-", "-", "-"]


def test_classifiers_are_in_percent_already():
    rows = [row("float", top1=76.5, top5=93.0), row("a", top1=70.25, top5=90.0)]
    assert metric_keys(rows) == ["top1", "top5"]
    assert cells(rows, "vs float") == ["-", "-6.2"]


def test_unknown_metrics_are_shown_as_they_are():
    rows = [row("float", psnr=30.5), row("a", psnr=28.25)]
    assert metric_keys(rows) == ["psnr"]
    assert cells(rows, "psnr") == ["30.5", "28.25"]
    assert cells(rows, "vs float") == ["-", "-2.25"]


def test_the_best_row_is_quantized_and_has_a_value():
    rows = [
        row("float", bbox_mAP=0.9),
        row("nan", bbox_mAP=math.nan),
        row("a", bbox_mAP=0.5),
        row("b", bbox_mAP=0.5),
        row("c", bbox_mAP=0.4),
    ]
    assert best_row(rows) == 2
    assert best_row(rows[:2]) is None
    assert best_row([]) is None
    table = build_table(rows)
    assert [r.style for r in table.rows] == [None, None, "bold", None, None]


def test_a_zero_map_is_a_value():
    assert best_row([row("float", bbox_mAP=0.9), row("a", bbox_mAP=0.0)]) == 1
