import json

import pytest

from mmptq.errors import MmptqError
from mmptq.report.run import read_run
from mmptq.report.units import unit_curves
from tests.report_support import write_full_run, write_lines
from tests.webpage.parsed import Page


@pytest.fixture
def run(tmp_path):
    return read_run(write_full_run(tmp_path))


def logs(run):
    return run.folder / "reconstruction/BitShrinking"


def test_losses_and_bit_widths(run):
    page = Page(unit_curves(run, "BitShrinking"))
    labels = [a.get("aria-label") for a in page.all("svg")]
    assert "loss over iteration" in labels and "bit-width over iteration" in labels
    assert {"backbone.layer1.0", "25.0 %", "2 (1)", "3.5 s"} <= set(page.texts)


def test_a_bit_width_that_stays_is_not_drawn(run):
    rows = [dict(iteration=i, R=1.0, b_w=4, b_a=4) for i in range(3)]
    write_lines(logs(run) / "backbone.layer1.0.jsonl", *rows)
    assert "bit-width over" not in unit_curves(run, "BitShrinking")


def test_units_without_a_log_are_in_the_table_alone(run):
    (logs(run) / "backbone.layer1.0.jsonl").unlink()
    found = unit_curves(run, "BitShrinking")
    assert "Curves of 0 of 1 units" in found and "backbone.layer1.0" in found


def test_many_units(run):
    one = json.loads((logs(run) / "summary.json").read_text())[0]
    units = [one | {"name": f"u{i}"} for i in range(70)]
    (logs(run) / "summary.json").write_text(json.dumps(units))
    for unit in units:
        write_lines(logs(run) / f"{unit['name']}.jsonl", dict(iteration=0, R=1.0))
    found = unit_curves(run, "BitShrinking")
    assert found.count("<figure>") == 60 and "Curves of 60 of 70 units" in found


def test_a_units_name_is_no_path(run, tmp_path):
    write_lines(tmp_path / "secret.jsonl", dict(iteration=0, R=42.0))
    (logs(run) / "summary.json").write_text(json.dumps([{"name": "../../secret"}]))
    assert "<figure>" not in unit_curves(run, "BitShrinking")


def test_a_step_without_logs_has_nothing(run):
    assert unit_curves(run, "GPTQ") == ""
    (logs(run) / "summary.json").write_text("[]")
    assert unit_curves(run, "BitShrinking") == ""


def test_a_damaged_summary_is_named(run):
    (logs(run) / "summary.json").write_text("{}")
    with pytest.raises(MmptqError, match=r"summary\.json must be a list of objects"):
        unit_curves(run, "BitShrinking")
