from mmptq.report.recipe import recipe_section
from mmptq.report.run import read_run
from tests.leaderboard_support import results, row, write_run
from tests.report_support import write_full_run
from tests.webpage.parsed import Page


def section_of(folder, steps):
    write_run(folder, results(row("mine", 0.5), method="mine", steps=steps))
    return recipe_section(read_run(folder))


def test_steps_and_their_arguments_in_words(tmp_path):
    steps = [
        {"type": "RangeCalibration", "act": {"type": "LpNormObserver", "p": 2.0}},
        {"type": "mmptq.GPTQ"},
    ]
    section = section_of(tmp_path, steps)
    assert section.title == "The recipe: mine"
    texts = " ".join(Page(section.html).texts)
    assert "RangeCalibration  act = LpNormObserver(p=2.0)" in texts and "GPTQ" in texts
    assert "The calibration took 2.0 s." in texts and "<h3>" not in section.html


def test_each_step_that_logs_has_its_curves(tmp_path):
    page = Page(recipe_section(read_run(write_full_run(tmp_path))).html)
    assert len(page.all("h3")) == 3 and len(page.all("li")) > 3


def test_logs_of_an_earlier_recipe_are_not_shown(tmp_path):
    write_full_run(tmp_path)
    section = section_of(tmp_path, [{"type": "QDrop"}])
    assert "<figure>" not in section.html


def test_a_type_is_no_path(tmp_path):
    write_full_run(tmp_path / "other")
    section = section_of(tmp_path / "work", [{"type": "../../other/reconstruction/BitShrinking"}])
    assert "<figure>" not in section.html
