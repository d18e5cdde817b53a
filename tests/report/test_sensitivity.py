import math

import pytest

from mmptq.report.run import read_run
from mmptq.report.sensitivity import sensitivity_section
from tests.report_support import sensitivity, write_full_run, write_json
from tests.webpage.parsed import Page


@pytest.fixture
def run(tmp_path):
    return read_run(write_full_run(tmp_path))


def section_of(run, data):
    write_json(run.folder / "analysis/sensitivity.json", data)
    return sensitivity_section(run)


def test_stages_and_the_worst(run):
    texts = Page(sensitivity_section(run).html).texts
    assert "W4A4: 2 quantizers; all together 0.07" in texts
    assert {"neck", "0.05", "neck.0.weight", "0.03", "18", "0.02 (estimate)"} <= set(texts)
    assert "other float weights" not in " ".join(texts)


def test_the_worst_is_first_whatever_is_not_finite(run):
    data = sensitivity()
    data["results"]["W4A4"]["records"].append(dict(name="c.act", alone=math.nan))
    texts = Page(section_of(run, data).html).texts
    assert texts.index("c.act") < texts.index("neck.0.weight") < texts.index("b.act")
    assert "not finite" in texts


def test_other_weights_are_told(run):
    text = section_of(run, sensitivity() | {"checkpoint": "a/other.pth"}).html
    assert "It was measured on other float weights: a/other.pth." in text


def test_in_the_work_dir_itself(run):
    (run.folder / "analysis/sensitivity.json").rename(run.folder / "sensitivity.json")
    assert sensitivity_section(run) is not None
    (run.folder / "sensitivity.json").unlink()
    assert sensitivity_section(run) is None


def test_many_bit_widths(run):
    data = sensitivity()
    data["results"] = {f"W{i}A{i}": data["results"]["W4A4"] for i in range(2, 11)}
    html = section_of(run, data).html
    assert html.count("<h3>") == 6 and "3 more are in sensitivity.json" in html
