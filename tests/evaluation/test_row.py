import json
import math

import numpy as np
import pytest
import torch

from mmptq.errors import MmptqError
from mmptq.evaluation import ResultRow
from mmptq.evaluation.row import count_vanished


def test_metrics_lose_their_prefix_and_what_is_no_number():
    row = ResultRow("mmse", "full", 4, 4)
    row.metrics = {
        "coco/bbox_mAP": np.float64(0.374),
        "coco/bbox_mAP_copypaste": "0.374 0.5",
        "accuracy/top1": torch.tensor(76.5),
        "flag": True,
    }
    assert row.metrics == {"bbox_mAP": 0.374, "top1": 76.5}
    assert all(type(value) is float for value in row.metrics.values())


def test_metrics_of_one_name_keep_their_prefix():
    row = ResultRow("m", "full", 4, 4, {"a/AP": 1.0, "b/AP": 2.0, "c/seconds": 3.0})
    assert row.metrics == {"a/AP": 1.0, "b/AP": 2.0, "c/seconds": 3.0}


def test_dict_round_trip_through_json():
    row = ResultRow("mmse", "full", 4, 3.5, {"coco/bbox_mAP": 0.3}, 12.5, 99.0, 3.25, 32, 0.75)
    data = json.loads(json.dumps(row.to_dict()))
    assert data == {
        "method": "mmse",
        "scope": "full",
        "w_bits": 4,
        "a_bits": 3.5,
        "bbox_mAP": 0.3,
        "size_mb": 12.5,
        "gbops": 99,
        "seconds": 3.25,
        "images": 32,
        "mac_share": 0.75,
    }
    assert ResultRow.from_dict(data) == row
    assert row.bits == "W4A3.5"
    del data["mac_share"]  # as files of older versions
    assert ResultRow.from_dict(data).mac_share is None


def test_nan_is_null_in_json():
    row = ResultRow("m", "full", 4, 4, {"bbox_mAP": math.nan})
    assert row.to_dict()["bbox_mAP"] is None
    assert math.isnan(ResultRow.from_dict(row.to_dict()).metrics["bbox_mAP"])


@pytest.mark.parametrize("change", [{"w_bits": None}, {"bbox_mAP": "high"}])
def test_malformed_rows(change):
    data = ResultRow("m", "full", 4, 4).to_dict() | change
    if data["w_bits"] is None:
        del data["w_bits"]
    with pytest.raises(MmptqError, match="w_bits|bbox_mAP = 'high'"):
        ResultRow.from_dict(data)


def test_metrics_of_several_sets_keep_their_prefix():
    one = {"A/coco/bbox_mAP": 0.4, "A/coco/bbox_mAP_50": 0.6}
    assert ResultRow("m", "full", 4, 4, one).metrics == {"bbox_mAP": 0.4, "bbox_mAP_50": 0.6}
    both = one | {"B/pascal_voc/mAP": 0.5}
    row = ResultRow("m", "full", 4, 4, both)
    assert row.metrics == both
    assert ResultRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_metrics_that_vanish_count_as_nothing_found():
    rows = [
        ResultRow("float", "-", 32, 32),
        ResultRow("minmax", "full", 1, 1),
        ResultRow("mmse", "full", 4, 4, {"bbox_mAP": 0.3, "bbox_mAP_l": -1.0, "loss": 2.0}),
    ]
    assert count_vanished(rows) == ["minmax"]
    assert rows[1].metrics == {"bbox_mAP": 0.0, "bbox_mAP_l": -1.0, "loss": 0.0}
    assert rows[0].metrics == {}  # not evaluated
    assert count_vanished(rows) == []


def test_a_timed_row_keeps_its_milliseconds() -> None:
    metrics = {"coco/bbox_mAP": 0.3}
    row = ResultRow("mmse in openvino", "full", 4, 4, metrics, ms=2.5, runtime="openvino")
    data = json.loads(json.dumps(row.to_dict()))
    assert (data["ms"], data["runtime"]) == (2.5, "openvino")
    assert ResultRow.from_dict(data) == row
