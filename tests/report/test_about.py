import pytest

from mmptq.report.about import config_section, environment_section, images_section
from mmptq.report.run import read_run
from tests.leaderboard_support import results, row, write_run
from tests.report_support import record, write_full_run, write_json
from tests.webpage.parsed import Page


@pytest.fixture
def folder(tmp_path):
    return write_full_run(tmp_path)


def text_of(section):
    return " ".join(Page(section.html).texts)


def test_images_of_both_sets(folder):
    text = text_of(images_section(read_run(folder)))
    assert "2 of 60, seed 0" in text and "a/1.jpg\na/2.jpg" in text
    assert "not read" in text and "d/val.json" in text and "SHA-256 ab" in text


def test_images_that_were_not_recorded(tmp_path):
    write_run(tmp_path, results(row("mmse", 0.5), labels=None, test={}))
    text = text_of(images_section(read_run(tmp_path)))
    assert "32, seed 0" in text and "test images not recorded" in text


def test_every_start_is_told(folder):
    starts = [
        dict(time="t1", command="python tools/quantize.py a.py", resumed=False, processes=2),
        dict(time="t2", command="", resumed=True, processes=1),
    ]
    write_json(folder / "run.json", record(starts=starts))
    text = text_of(environment_section(read_run(folder)))
    assert "python tools/quantize.py a.py   t1, 2 processes" in text
    assert "from Python  t2, resumed" in text


def test_files_that_are_there_are_linked(folder):
    page = Page(environment_section(read_run(folder)).html)
    links = {a["href"] for a in page.all("a")}
    assert links == {
        *("./results.json", "./quantized.json", "./run.json", "./net_w4a4.py"),
        *("./stages", "./reconstruction"),
    }


def test_the_config_is_whole_or_cut_with_a_note(folder):
    assert "model = dict(type='RetinaNet')" in text_of(config_section(read_run(folder)))
    (folder / "net_w4a4.py").write_text("x" * 400_000)
    assert "100,000 more characters are in the file" in text_of(config_section(read_run(folder)))


def test_without_a_config_file_it_says_so(tmp_path):
    write_run(tmp_path, results(row("mmse", 0.5), config="ResNet"))
    text = text_of(config_section(read_run(tmp_path)))
    assert "There is no config file" in text and '"scope": "full"' in text
