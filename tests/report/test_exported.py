import os

import pytest

from mmptq.report.exported import export_section
from mmptq.report.run import read_run
from tests.leaderboard_support import float_row, results, row, write_run
from tests.report_support import record, verification, write_full_run, write_json
from tests.webpage.parsed import Page


@pytest.fixture
def folder(tmp_path):
    return write_full_run(tmp_path)


def section_of(folder):
    return export_section(read_run(folder))


def test_the_checks_figures(folder):
    section = section_of(folder)
    assert section.title == "Exported: detector in openvino"
    texts = set(Page(section.html).texts)
    assert {"0.60", "4.40", "2.5", "5.0", "3 of 4", "1 of 1", "4 of 4", "100.0 %"} <= texts
    assert "The check failed" not in section.html


def test_layers_that_differ_are_named(folder):
    wrong = dict(name="conv2", call=0, equal=0.5, far=0.25, largest=7.0)
    write_json(folder / "quantized.json", verification(layers=[wrong]))
    texts = Page(section_of(folder).html).texts
    assert "0 of 1" in texts and {"conv2", "25.0 %", "7"} <= set(texts)


def test_an_export_that_failed_has_no_row(folder):
    write_run(folder, results(float_row(), row("all", 0.5), method="all"))
    assert "The check failed" in section_of(folder).html


def test_a_file_of_an_earlier_run_is_not_shown(folder):
    write_run(folder, results(float_row(), row("all", 0.5), method="all"))
    write_json(folder / "run.json", record())
    os.utime(folder / "quantized.json", (1, 1))
    assert section_of(folder) is None
    (folder / "quantized.json").unlink()
    assert section_of(folder) is None
