from mmptq.report.run import read_run
from mmptq.report.table import headline, result_section
from tests.leaderboard_support import float_row, results, row, write_run
from tests.report_support import write_full_run
from tests.webpage.parsed import Page


def run_of(folder, *rows, **changes):
    write_run(folder, results(*rows, **changes))
    return read_run(folder)


def test_the_headline_compares_with_the_float_model(tmp_path):
    run = run_of(tmp_path, float_row(0.614), row("mmse", 0.585))
    assert headline(run) == (
        "mmse at W4A4: mAP 58.5 of the float model's 61.4, 0.50 of 4.00 MB, 10.0 of 500.0 GBOPs."
    )


def test_the_headline_of_what_was_not_measured(tmp_path):
    bare = {key: value for key, value in row("mmse", 0.5).items() if key != "bbox_mAP"}
    assert headline(run_of(tmp_path, bare)) == "mmse at W4A4, 0.50 MB, 10.0 GBOPs."
    assert "Nothing was measured" in result_section(run_of(tmp_path, bare)).html
    assert headline(run_of(tmp_path, float_row())) == ""


def test_rows_are_those_of_the_results(tmp_path):
    page = Page(result_section(read_run(write_full_run(tmp_path))).html)
    assert [a["class"] for a in page.all("tr")[1:]] == ["base", "base", "best", ""]
    assert "-5.0" in page.texts and "all in openvino" in page.texts


def test_naive_min_max_as_the_recipe_is_no_base(tmp_path):
    run = run_of(tmp_path, float_row(), row("minmax", 0.4), method="minmax")
    assert [a["class"] for a in Page(result_section(run).html).all("tr")[1:]] == ["base", "best"]


def test_a_collapse_names_its_layers(tmp_path):
    page = Page(result_section(read_run(write_full_run(tmp_path))).html)
    assert [page.texts[-3:], len(page.all("li"))] == [
        ["all at W4A4 lost 40 %, the worst:", "weight of conv2", "to keep: --qconfig"],
        1,
    ]
