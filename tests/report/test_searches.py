import json

import pytest

from mmptq.errors import MmptqError
from mmptq.report.run import read_run
from mmptq.report.searches import interpolation_curve, search_curve
from tests.report_support import write_full_run, write_lines
from tests.webpage.parsed import Page


@pytest.fixture
def run(tmp_path):
    return read_run(write_full_run(tmp_path))


def test_the_best_p_is_marked(run):
    page = Page(interpolation_curve(run))
    assert "taken: p = 3" in page.texts
    assert len(page.all("circle")) == 3 + 1 + 2  # points, the best, the legend


def test_only_the_last_search_counts(run):
    found = search_curve(run)
    assert "3 evaluations: loss 2 at the start, 1.9 at the best." in found
    assert "99" not in found and "did not see" not in found


def test_the_check_on_held_out_images_is_told(run, tmp_path):
    points = [dict(point=[float(i)], loss=loss) for i, loss in enumerate((3.0, 3.2, 2.5, 2.9))]
    write_lines(tmp_path / "stages/joint_search_held_out.jsonl", {"search": {}}, *points)
    assert (
        "did not see: 3 at the start, 3.2 with what it found, 2.5 with what was kept of it."
        in search_curve(run)
    )


@pytest.mark.parametrize("name", ["joint_search", "lp_interpolation"])
def test_a_log_that_is_gone_or_empty(run, tmp_path, name):
    curve = search_curve if name == "joint_search" else interpolation_curve
    path = tmp_path / f"stages/{name}.jsonl"
    path.write_text(json.dumps({"search": {}}) + "\n")
    assert "not in stages/ any more" in curve(run)
    path.unlink()
    assert "not in stages/ any more" in curve(run)


def test_a_log_that_is_no_text_is_named(run, tmp_path):
    (tmp_path / "stages/joint_search.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(MmptqError, match=r"cannot read .*joint_search\.jsonl"):
        search_curve(run)
