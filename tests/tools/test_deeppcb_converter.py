"""The DeepPCB converter on a tiny tree of the published form."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_converters import deeppcb
from pycocotools.coco import COCO

CONVERTER = Path(deeppcb.__file__)
WIDTH, HEIGHT = 40, 30
LISTS = {
    "trainval": [("group00041", "00041001"), ("group12000", "12000007")],
    "test": [("group00041", "00041000")],
}
BOXES = {
    "00041000": "3 4 13 9 6\n",
    "00041001": "0 0 40 30 1\n1,2,11,22,3\n\n",
    "12000007": "",  # a board without defects
}


def files(group: str, name: str) -> tuple[str, str]:
    """As a list names an image and its boxes."""
    folder = f"{group}/{group.removeprefix('group')}"
    return f"{folder}/{name}.jpg", f"{folder}_not/{name}.txt"


@pytest.fixture
def pcbdata(tmp_path: Path) -> Path:
    """Two train images and one test image, each with its template."""
    root = tmp_path / "PCBData"
    for published, images in LISTS.items():
        lines = []
        for group, name in images:
            image, boxes = files(group, name)
            for path, kind in ((image, "_test.jpg"), (image, "_temp.jpg"), (boxes, ".txt")):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                file = (root / path).with_name(f"{name}{kind}")
                if kind == ".txt":
                    file.write_text(BOXES[name])
                else:
                    cv2.imwrite(str(file), np.full((HEIGHT, WIDTH), int(name) % 200, np.uint8))
            lines.append(f"{image} {boxes}")
        (root / f"{published}.txt").write_text("\n".join(lines))  # none behind the last, as there
    return root


def convert(pcbdata: Path, out: Path, *more: str) -> int:
    return deeppcb.main(["--pcbdata", str(pcbdata), "--out", str(out), *more])


def test_boxes_ids_and_images(pcbdata: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert convert(pcbdata, out) == 0
    train = json.loads((out / "annotations/train.json").read_text())
    names = ["open", "short", "mousebite", "spur", "copper", "pin-hole"]
    assert train["categories"] == [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    assert train["images"] == [  # in the published order
        {"id": 1, "file_name": "00041001_test.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 2, "file_name": "12000007_test.jpg", "width": WIDTH, "height": HEIGHT},
    ]
    assert train["annotations"] == [
        dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 40, 30], area=1200, iscrowd=0),
        dict(id=2, image_id=1, category_id=3, bbox=[1, 2, 10, 20], area=200, iscrowd=0),
    ]
    val = json.loads((out / "annotations/val.json").read_text())
    assert [(a["category_id"], a["bbox"]) for a in val["annotations"]] == [(6, [3, 4, 10, 5])]
    # No templates.
    assert sorted(p.name for p in (out / "train").iterdir()) == [
        "00041001_test.jpg",
        "12000007_test.jpg",
    ]
    source = pcbdata / "group00041/00041/00041000_test.jpg"
    assert (out / "val/00041000_test.jpg").read_bytes() == source.read_bytes()
    assert "train: 2 images, 1 open, 0 short, 1 mousebite" in capsys.readouterr().out


def test_pycocotools_reads_it(pcbdata: Path, tmp_path: Path) -> None:
    assert convert(pcbdata, tmp_path / "out") == 0
    coco = COCO(str(tmp_path / "out/annotations/train.json"))
    assert coco.getCatIds(["mousebite"]) == [3]
    assert len(coco.getAnnIds(imgIds=[1])) == 2


def test_symlinks_and_a_second_run(pcbdata: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(pcbdata, out, "--symlink") == 0
    assert (out / "val/00041000_test.jpg").is_symlink()
    assert convert(pcbdata, out) == 0  # now as copies
    assert not (out / "val/00041000_test.jpg").is_symlink()
    assert (pcbdata / "group00041/00041/00041000_test.jpg").is_file()


def test_command_line(pcbdata: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(CONVERTER)]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "tangsanli5201/DeepPCB" in done.stdout
    bad = [*command, "--pcbdata", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    done = subprocess.run(bad, capture_output=True, text=True)
    assert done.returncode == 1
    assert "trainval.txt is missing: --pcbdata must be" in done.stderr
    assert "Traceback" not in done.stderr


def _write(path: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / path).write_text(text)


IMAGE, A = files("group00041", "00041001")
TEST = " ".join(files("group00041", "00041000"))
BAD_INPUT = {
    "no list": (lambda r: (r / "test.txt").unlink(), r"test\.txt is missing"),
    "empty list": (_write("test.txt", "\n"), r"test\.txt names no image"),
    "no pair": (_write("test.txt", "a.jpg\n"), r"test\.txt: 'a\.jpg' is not <image>\.jpg"),
    "other pair": (_write("test.txt", "a.txt b.txt"), "'a.txt b.txt' is not <image>"),
    "image twice": (_write("test.txt", f"{TEST}\n{TEST}\n"), "names 00041000_test.jpg more than"),
    "two of one name": (
        _write("test.txt", f"{TEST}\ngroup2/00041000.jpg {A}"),
        "names 00041000_test.jpg more than once",
    ),
    "both splits": (_write("test.txt", f"{IMAGE} {A}"), "00041001_test.jpg is both in trainval"),
    "no boxes": (lambda r: (r / A).unlink(), r"00041001\.txt is missing, yet"),
    "no image": (
        lambda r: (r / IMAGE).with_name("00041001_test.jpg").unlink(),
        r"00041001_test\.jpg is missing, yet",
    ),
    "no real image": (
        _write("group00041/00041/00041001_test.jpg", "version https://git-lfs"),
        r"00041001_test\.jpg cannot be decoded",
    ),
    "few numbers": (_write(A, "1 2 3 4\n"), r"00041001\.txt:1: '1 2 3 4' is not x1 y1"),
    "not a number": (_write(A, "\n1 2 x 4 1\n"), r"00041001\.txt:2: '1 2 x 4 1' is not"),
    "background": (_write(A, "1 2 3 4 0"), "unknown type 0; known are 1 to 6"),
    "unknown type": (_write(A, "1 2 3 4 7"), "unknown type 7"),
    "no extent": (_write(A, "3 2 3 4 1"), "'3 2 3 4 1' is no box inside the image, 40x30"),
    "outside": (_write(A, "3 2 9 31 1"), "is no box inside the image, 40x30"),
    "negative": (_write(A, "-3 2 9 20 1"), "is no box inside the image"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_named_and_nothing_written(case: str, pcbdata: Path, tmp_path: Path) -> None:
    spoil, message = BAD_INPUT[case]
    spoil(pcbdata)
    with pytest.raises(deeppcb.ConversionError, match=message):
        deeppcb.convert(pcbdata, tmp_path / "out", symlink=False)
    assert not (tmp_path / "out").exists()
