import base64

import cv2
import numpy as np
import pytest

from mmptq.report.pictures import pictures_section
from mmptq.report.run import read_run
from tests.report_support import record, write_full_run, write_json, write_picture
from tests.webpage.parsed import Page

PLENTY = 5_000_000


@pytest.fixture
def folder(tmp_path):
    return write_full_run(tmp_path)


def shown(folder, budget=PLENTY):
    """Pictures in the page, decoded, and its text."""
    html = pictures_section(read_run(folder), budget).html
    page = Page(html)
    found = []
    for image in page.all("img"):
        data = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
        found.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
        assert found[-1].shape[:2] == (int(image["height"]), int(image["width"]))
    return found, " ".join(page.texts), len(html.encode())


def test_a_small_picture_is_as_it_was(folder):
    write_picture(folder / "pictures/000.jpg", 320, 100)
    (picture,), text, _ = shown(folder)
    before = cv2.imread(str(folder / "pictures/000.jpg")).astype(int)
    assert picture.shape == before.shape and np.abs(picture - before).mean() < 20
    assert "Reduced" not in text and "000" in text


def test_a_wide_picture_is_reduced(folder):
    write_picture(folder / "pictures/000.jpg", 4000, 200)
    (picture,), _, _ = shown(folder)
    assert picture.shape[:2] == (80, 1600)


@pytest.mark.parametrize("budget", [150_000, 60_000, 20_000, 100])
def test_it_keeps_to_its_budget(folder, budget):
    names = ["0.png", "1.png", "2.png"]
    for name in names:
        write_picture(folder / "pictures" / name, 400, 300)
    write_json(folder / "run.json", record(pictures=names))
    pictures, text, size = shown(folder, budget)
    assert size <= budget + 300  # the notes
    if len(pictures) < 3:
        assert f"{len(pictures)} of 3 pictures are here" in text
    else:
        assert "Reduced to" in text


def test_of_many_the_first_are_shown(folder):
    names = [f"{i:02}.png" for i in range(30)]
    for name in names:
        write_picture(folder / "pictures" / name, 20, 10)
    write_json(folder / "run.json", record(pictures=names))
    pictures, text, _ = shown(folder)
    assert len(pictures) == 24 and "24 of 30 pictures are here" in text


def test_only_this_runs_pictures_are_shown(folder):
    write_picture(folder / "pictures/old.jpg")
    assert len(shown(folder)[0]) == 1
    (folder / "run.json").unlink()
    assert len(shown(folder)[0]) == 2  # not known which they are


def test_what_is_no_picture_is_left_out(folder):
    (folder / "pictures/000.jpg").write_text("<script>alert(1)</script>")
    pictures, text, _ = shown(folder)
    assert pictures == [] and "0 of 1 pictures are here" in text


def test_without_pictures(folder):
    (folder / "pictures/000.jpg").unlink()
    assert "None were drawn" in pictures_section(read_run(folder), PLENTY).html
    write_json(folder / "run.json", record(boxes=False))
    assert pictures_section(read_run(folder), PLENTY) is None
