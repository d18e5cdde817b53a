"""benchmarks/records.py: what a command prints, kept with where it comes from."""

import datetime
import json
import sys

import pytest

from mmptq.errors import MmptqError

PRINTS = (
    "print('| no |\\n|---|\\n| table |\\n\\ntext\\n\\n| a | b |\\n|---|---|\\n| {} | x\\\\|y |')"
)


@pytest.fixture
def records():
    import records

    return records


@pytest.fixture
def run(records, monkeypatch, tmp_path):
    """The command line, on a file of its own."""
    path = tmp_path / "recorded.json"

    def call(*arguments):
        command = ["records.py", "--json", str(path), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        records.main()
        return json.loads(path.read_text())

    return call


def test_the_last_table_is_kept_and_measured_anew_by_its_name(run, records):
    made = run("mine", "python", "-c", PRINTS.format(1.5))["mine"]
    assert (made["columns"], made["rows"]) == (["a", "b"], [["1.5", "x\\|y"]])
    assert made["date"] == datetime.date.today().isoformat()
    assert made["commit"] and "cores" in made["machine"]
    assert run("mine")["mine"] == made
    assert records.markdown(made).startswith(
        "| a | b |\n| --- | --- |\n| 1.5 | x\\|y |\n\nRecorded "
    )


def test_several_commands_make_one_table(run, records, tmp_path):
    run("mine", "python", "-c", PRINTS.format(1))
    path = tmp_path / "recorded.json"
    known = json.loads(path.read_text())
    known["mine"]["commands"].append(known["mine"]["commands"][0].replace("| 1 |", "| 2 |"))
    path.write_text(json.dumps(known))
    assert [row[0] for row in run("mine")["mine"]["rows"]] == ["1", "2"]


def test_cells_are_kept_beside_those_of_other_commands(records, tmp_path):
    path = tmp_path / "recorded.json"
    records.add_cells(path, "speed", "python a.py", {"x": {"ms": 1}, "y": {"ms": 2}})
    records.add_cells(path, "speed", "python b.py", {"y": {"ms": 3}})
    made = json.loads(path.read_text())["speed"]
    assert made["cells"] == {"x": {"ms": 1}, "y": {"ms": 3}}
    assert made["commands"] == ["python a.py", "python b.py"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["python", "-c", "print('no table')"], "prints no Markdown table"),
        (["python", "-c", "raise SystemExit(3)"], "ended with 3"),
    ],
)
def test_what_fails_or_prints_no_table_records_nothing(run, tmp_path, command, message):
    with pytest.raises(MmptqError, match=message):
        run("mine", *command)
    assert not (tmp_path / "recorded.json").exists()


def test_a_record_that_is_not_there_or_made_by_hand_is_named(run, tmp_path):
    hand = {"commands": ["python CONFIG"], "by_hand": True, "rows": []}
    (tmp_path / "recorded.json").write_text(json.dumps({"hand": hand}))
    with pytest.raises(MmptqError, match="no such record; give its command"):
        run("other")
    with pytest.raises(MmptqError, match="put together by hand, of python CONFIG"):
        run("hand")
