import copy
import json
import math

import pytest

from mmptq.errors import MmptqError
from mmptq.evaluation import Results
from mmptq.evaluation.schema import SCHEMA, check_results
from tests.leaderboard_support import float_row, results, row


def good():
    return results(float_row(), row("mmse", 0.5, ms=1.5, runtime="openvino"))


def test_what_is_right_passes():
    assert check_results(good(), "r.json") == good()


def test_older_files_without_schema_and_test_are_read(tmp_path):
    data = good()
    del data["schema"], data["test"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    read = Results.from_json(path)
    assert read.test == {} and len(read.rows) == 2
    assert read.to_dict()["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("schema",), 99, "schema = 99: this mmptq reads up to 1; install"),
        (("schema",), "one", "schema = 'one': must be a whole number"),
        (("schema",), True, "schema = True: must be a whole number"),
        (("config",), 3, "config = 3: must be a string; correct it, or repeat the run"),
        (("environment",), [], r"environment = \[\]: must be an object"),
        (("calibration", "seed"), "0", "calibration.seed = '0': must be a whole number"),
        (("calibration", "qconfig"), 4, "calibration.qconfig = 4: must be an object"),
        (("calibration", "labels"), "no", "calibration.labels = 'no': must be true or false"),
        (("test", "annotations"), "val.json", "test.annotations = 'val.json': must be a list"),
        (("test", "images"), -1, "test.images = -1: must be a whole number"),
        (("rows",), {}, r"rows = {}: must be a list"),
        (("rows", 0), 5, r"rows\[0\] = 5: must be an object"),
        (("rows", 1, "w_bits"), "four", r"rows\[1\].w_bits = 'four': must be a number of bits"),
        (("rows", 1, "a_bits"), 0, r"rows\[1\].a_bits = 0: must be a number of bits"),
        (("rows", 1, "method"), None, r"rows\[1\].method = None: must be a string"),
        (("rows", 1, "size_mb"), -2, r"rows\[1\].size_mb = -2: must be a number of 0 or more"),
        (("rows", 1, "gbops"), math.inf, r"rows\[1\].gbops = inf"),
        (("rows", 1, "images"), 1.5, r"rows\[1\].images = 1.5: must be a whole number"),
        (("rows", 1, "bbox_mAP"), "high", r"rows\[1\].bbox_mAP = 'high': must be a number or null"),
        (("rows", 1, "runtime"), 1, r"rows\[1\].runtime = 1: must be a string or null"),
        (("strange",), 1, "strange: unknown key; remove it"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(place, value, message):
    data = copy.deepcopy(good())
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(MmptqError, match=f"^dir/r.json: {message}"):
        check_results(data, "dir/r.json")


def test_a_long_value_is_cut():
    data = good()
    data["config"] = ["x"] * 1000
    with pytest.raises(MmptqError) as error:
        check_results(data, "r.json")
    assert len(str(error.value)) < 200


def test_a_row_that_lacks_its_bits_is_named():
    data = good()
    del data["rows"][1]["w_bits"]
    with pytest.raises(MmptqError, match=r"rows\[1\] lacks w_bits: add it, or remove the row"):
        check_results(data, "r.json")


@pytest.mark.parametrize("key", ["size_mb", "bbox_mAP", "w_bits"])
def test_a_number_beyond_floats_is_named(key):
    data = good()
    data["rows"][1][key] = 10**400
    with pytest.raises(MmptqError, match=rf"rows\[1\].{key} = 1000"):
        check_results(data, "r.json")
