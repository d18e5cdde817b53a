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


def of_sets(method, **values):
    names = {"a": "A/coco/bbox_mAP", "b": "B/pascal_voc/mAP", "s": "B/pascal_voc/seconds"}
    return row(method, **{names[key]: value for key, value in values.items()})


def test_every_set_has_its_columns_and_its_difference():
    rows = [of_sets("float", a=0.5, b=0.71, s=2.0), of_sets("mmse", a=0.45, b=0.7, s=2.5)]
    table = {c.title: c.cells for c in columns(rows, "accuracy")}
    assert list(table)[3:] == ["A mAP", "A vs float", "B mAP", "B vs float", "B seconds"]
    assert [table[title][1] for title in list(table)[3:]] == ["45.0", "-5.0", "70.0", "-1.0", "2.5"]


def test_metrics_of_one_heading_are_told_apart():
    rows = [row("float", bbox_mAP=0.5, mAP=0.7, own=3.25)]
    titles = [c.title for c in columns(rows, "accuracy")]
    assert titles[3:] == ["bbox_mAP", "vs float", "mAP", "own"]


@pytest.mark.parametrize(
    "key",
    ["mAP", "AP50", "A/voc/mAP", "B/coco/segm_mAP_50", "AR_s@1000", "recall@100@0.5"],
)
def test_fractions_are_in_percent_and_differences_in_points(key):
    rows = [row("float", **{key: 0.5}), row("m", **{key: 0.437})]
    assert format_metric(key, 0.437) == "43.7"
    title = next(c.title for c in columns(rows) if c.title.endswith("vs float"))
    assert cells(rows, title) == ["-", "-6.3"]
