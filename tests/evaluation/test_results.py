import json

import pytest

from mmptq.errors import MmptqError
from mmptq.evaluation import ResultRow, Results


def make_results():
    rows = [
        ResultRow(
            "float", "-", 32, 32, {"coco/bbox_mAP": 0.712, "coco/bbox_mAP_l": -1.0}, 145.3, 9.0
        ),
        ResultRow("minmax", "full", 4, 4, {"coco/bbox_mAP": 0.012}, 19.3, 1.0, 3.2, 32),
        ResultRow("mmse", "full", 4, 4, {"coco/bbox_mAP": 0.612}, 19.3, 1.0, 72.2, 32, 0.988),
    ]
    return Results("configs/x.py", "x.pth", calibration={"num_images": 32}, rows=rows)


def test_json_has_the_documented_form(tmp_path):
    make_results().to_json(tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    keys = ["schema", "config", "float_checkpoint", "environment", "calibration", "rows"]
    assert list(data) == keys
    assert data["schema"] == 1
    assert data["rows"][0]["method"] == "float"
    assert data["rows"][2]["bbox_mAP"] == 0.612
    assert data["environment"]["torch"] and data["environment"]["mmdet"]


def test_json_round_trip(tmp_path):
    results = make_results()
    results.test = {"dataset": "CocoDataset", "annotations": ["v.json"], "images": 3}
    results.to_json(tmp_path / "results.json")
    assert Results.from_json(tmp_path / "results.json") == results


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold the keys config"),
        ('{"config": 1}', "it holds config"),
        (
            '{"config":"", "float_checkpoint":"", "environment":{}, "calibration":{}, "rows":[{}]}',
            "lacks method",
        ),
        (
            '{"config":"", "float_checkpoint":"", "environment":{}, "calibration":{}, "rows":3}',
            "r.json",
        ),
    ],
)
def test_unreadable_files_are_named(tmp_path, text, message):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(MmptqError, match=message) as error:
        Results.from_json(path)
    assert "r.json" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MmptqError, match="none.json"):
        Results.from_json(tmp_path / "none.json")


def test_the_float_row_goes_first_and_a_method_has_one_row():
    results = Results("c")
    results.add(ResultRow("mmse", "full", 4, 4))
    results.add(ResultRow("float", "-", 32, 32))
    results.add(ResultRow("mmse", "full", 3, 3))
    assert [(row.method, row.w_bits) for row in results.rows] == [("float", 32), ("mmse", 3)]
    assert results.float_row is results.rows[0]


def test_text_of_the_table():
    lines = make_results().to_text(width=150).splitlines()
    row = next(line for line in lines if line.strip().startswith("mmse"))
    assert (
        " ".join(row.split())
        == "mmse full W4A4 61.2 -10.0 - 145.3 -> 19.3 (7.5x) 1.00 98.8 % 32 1m12s"
    )
    reference = next(line for line in lines if line.strip().startswith("float"))
    assert " ".join(reference.split()) == "float - W32A32 71.2 - - 145.3 9.00 - - -"
    assert "\x1b" not in "".join(lines)


def test_a_narrow_terminal_gets_two_tables_and_loses_nothing():
    results = make_results()
    for row in results.rows[1:]:
        row.scope = "backbone_neck"
        row.metrics = row.metrics | {f"bbox_mAP_{k}": 0.5 for k in ("50", "75", "s", "m", "l")}
    text = results.to_text(width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("minmax") == 2
    for word in ("backbone_neck", "APl", "GBOPs", "145.3 -> 19.3 (7.5x)", "1m12s"):
        assert word in text


def test_markdown_has_the_best_quantized_row_bold():
    results = make_results()
    lines = results.to_markdown().splitlines()
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert "**" not in lines[2] + lines[3]
    assert "| **61.2** | **-10.0** |" in lines[4]
    assert results.best is results.rows[2]


def test_empty_results_have_a_table():
    assert "method" in Results("c").to_text(width=80)
