import math

import pytest

from mmptq.errors import MmptqError
from mmptq.report.reading import count, dict_of, dicts_of, number, numbers, read_json, text, texts


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(MmptqError, match=r"cannot read .*a\.json: No such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(MmptqError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")


def test_what_must_be_objects_is_checked():
    assert dict_of({"a": 1}, "x") == {"a": 1} and dicts_of([{}], "x") == [{}]
    with pytest.raises(MmptqError, match="x is a list: must be an object"):
        dict_of([], "x")
    for wrong in ({}, [1], "ab", None):
        with pytest.raises(MmptqError, match="x must be a list of objects"):
            dicts_of(wrong, "x")


@pytest.mark.parametrize("wrong", [None, "1", [1], {}, True, math.nan])
def test_what_is_no_number_is_nan(wrong):
    assert math.isnan(number({"a": wrong}, "a")) and math.isnan(number({}, "a"))
    assert count({"a": wrong}, "a") == 0


def test_numbers_too_large_for_a_float_are_infinite():
    assert number({"a": 10**400}, "a") == math.inf and number({"a": -(10**400)}, "a") == -math.inf
    assert count({"a": 10**400}, "a") == 0 and count({"a": -3}, "a") == 0
    assert count({"a": 7}, "a") == 7


def test_lists_keep_what_is_of_their_kind():
    assert numbers({"a": [1, "2", None, 3.5, True]}, "a") == (1.0, 3.5)
    assert texts({"a": ["x", 2, None]}, "a") == ("x",)
    assert numbers({"a": 3}, "a") == texts({"a": "xy"}, "a") == ()
    assert text({"a": "x"}, "a") == "x" and text({"a": 3}, "a") == ""
