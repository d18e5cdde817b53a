import pytest

from mmptq.errors import MmptqError
from mmptq.report.mixed import mixed_choices
from mmptq.report.run import read_run
from tests.report_support import write_full_run, write_json
from tests.webpage.parsed import Page

CHOICES = {
    "tried": [
        dict(label="distances add up", size_mb=1.5, gbops=10, harm=0.01, loss=0.02, drop=None),
        dict(label="W4A8", size_mb=1.5, gbops=12.5, harm=0.03, loss=0.015, chosen=True),
    ],
    "groups": [
        dict(name="conv1.weight", which="weight", stage="stem", bits=8.0, fixed=True),
        dict(name="<b>cls.act</b>", which="act", stage="cls", bits=4.0, fixed=False),
    ],
}


@pytest.fixture
def run(tmp_path):
    return read_run(write_full_run(tmp_path))


def test_allocations_and_bits(run):
    write_json(run.folder / "mixed_precision.json", CHOICES)
    html = mixed_choices(run)
    texts = Page(html).texts
    assert {"distances add up", "0.02", "W4A8", "12.5", "conv1.weight", "fixed"} <= set(texts)
    assert "lost points" not in texts  # which were not measured
    assert "<b>cls.act" not in html and "<b>cls.act</b>" in texts
    assert html.count('<tr class="best">') == 1


def test_without_the_step_there_is_nothing(run):
    assert mixed_choices(run) == ""


def test_a_damaged_file_is_named(run):
    write_json(run.folder / "mixed_precision.json", {"tried": 3})
    with pytest.raises(MmptqError, match="mixed_precision.json: tried must be a list"):
        mixed_choices(run)
