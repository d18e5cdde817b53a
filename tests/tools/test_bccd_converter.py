"""The BCCD converter on a tiny VOC tree."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_converters import bccd
from pycocotools.coco import COCO

CONVERTER = Path(bccd.__file__)


def xml(objects: str, width: str = "40", height: str = "30") -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{size}{objects}</annotation>"


def box(name: str, *corners: object) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    bndbox = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{name}</name><bndbox>{bndbox}</bndbox></object>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two train images and one test image; image bytes need not be a picture."""
    root = tmp_path / "BCCD"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    lists = {"trainval": "b\na\n", "test": "c\n", "train": "b\n", "val": "a\n"}
    for name, text in lists.items():
        (root / f"ImageSets/Main/{name}.txt").write_text(text)
    annotations = {
        "a": box("WBC", 1, 2, 11, 22),
        "b": box("RBC", -5, 10, 20, 35) + box("Platelets", 7, 7, 7, 7) + box("RBC", 0, 0, 40, 30),
        "c": box("Platelets", 3, 4, 5, 6) + box("RBC", 39, 0, 45, 10),
    }
    for name, objects in annotations.items():
        (root / f"Annotations/{name}.xml").write_text(xml(objects))
        (root / f"JPEGImages/{name}.jpg").write_bytes(b"image " + name.encode())
    return root


def convert(voc: Path, out: Path, *more: str) -> int:
    return bccd.main(["--voc", str(voc), "--out", str(out), *more])


def test_boxes_ids_and_images(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert convert(voc, out) == 0
    train = json.loads((out / "annotations/train.json").read_text())
    assert train["categories"] == [
        {"id": 1, "name": "RBC"},
        {"id": 2, "name": "WBC"},
        {"id": 3, "name": "Platelets"},
    ]
    assert train["images"] == [  # in the published order
        {"id": 1, "file_name": "b.jpg", "width": 40, "height": 30},
        {"id": 2, "file_name": "a.jpg", "width": 40, "height": 30},
    ]
    rows = [(a["id"], a["image_id"], a["category_id"], a["bbox"]) for a in train["annotations"]]
    assert rows == [
        (1, 1, 1, [0.0, 10.0, 20.0, 20.0]),  # clipped at the left and at the bottom
        (2, 1, 1, [0.0, 0.0, 40.0, 30.0]),  # the platelet of no extent is gone
        (3, 2, 2, [1.0, 2.0, 10.0, 20.0]),
    ]
    assert [a["area"] for a in train["annotations"]] == [400.0, 1200.0, 200.0]
    val = json.loads((out / "annotations/val.json").read_text())
    # Exactly 2 pixels stay; 6 pixels of which the image holds 1 do not.
    assert [(a["category_id"], a["bbox"]) for a in val["annotations"]] == [
        (3, [3.0, 4.0, 2.0, 2.0])
    ]
    assert sorted(p.name for p in (out / "train").iterdir()) == ["a.jpg", "b.jpg"]
    assert (out / "val/c.jpg").read_bytes() == b"image c"
    assert "2 images, 2 RBC, 1 WBC, 0 Platelets; 1 boxes" in capsys.readouterr().out


def test_pycocotools_reads_it(voc: Path, tmp_path: Path) -> None:
    assert convert(voc, tmp_path / "out") == 0
    coco = COCO(str(tmp_path / "out/annotations/train.json"))
    assert coco.getCatIds(["WBC"]) == [2]
    assert len(coco.getAnnIds(imgIds=[1])) == 2


def test_symlinks_and_a_second_run(voc: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(voc, out, "--symlink") == 0
    link = out / "train/a.jpg"
    assert link.is_symlink()
    assert link.read_bytes() == b"image a"
    assert convert(voc, out) == 0  # now as copies
    assert not link.is_symlink()
    assert (voc / "JPEGImages/a.jpg").read_bytes() == b"image a"


def test_images_elsewhere_even_in_place(voc: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(voc, out) == 0
    for image in (voc / "JPEGImages").iterdir():
        image.unlink()
    folders = [str(out / "train"), str(out / "val")]
    assert convert(voc, out, "--images", *folders) == 0
    assert (out / "train/b.jpg").read_bytes() == b"image b"


def test_command_line(voc: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(CONVERTER)]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "BCCD_Dataset" in done.stdout
    bad = [*command, "--voc", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    done = subprocess.run(bad, capture_output=True, text=True)
    assert done.returncode == 1
    assert "trainval.txt is missing" in done.stderr
    assert "Traceback" not in done.stderr


def _write(path: str, text: str):
    return lambda voc: (voc / path).write_text(text)


A = "Annotations/a.xml"
BAD_INPUT = {
    "no list": (lambda v: (v / "ImageSets/Main/test.txt").unlink(), r"test\.txt is missing"),
    "empty list": (_write("ImageSets/Main/test.txt", "\n"), r"test\.txt names no image"),
    "image twice": (_write("ImageSets/Main/test.txt", "c\nc\n"), "names c more than once"),
    "both splits": (_write("ImageSets/Main/test.txt", "c\na\n"), "a is both in trainval"),
    "no annotation": (lambda v: (v / A).unlink(), r"a\.xml is missing"),
    "no image": (lambda v: (v / "JPEGImages/c.jpg").unlink(), r"c\.jpg is in none of .*--images"),
    "cut off": (_write(A, "<annotation><size>"), r"a\.xml is not well-formed"),
    "no size": (_write(A, "<annotation/>"), r"a\.xml: <annotation> lacks <size/width>"),
    "zero size": (_write(A, xml("", width="0")), r"a\.xml: size 0 x 30"),
    "no corner": (
        _write(A, xml("<object><name>RBC</name></object>")),
        r"a\.xml: <object> lacks <bndbox/xmin>",
    ),
    "not a number": (_write(A, xml(box("RBC", 1, 2, "x", 4))), r"a\.xml: <bndbox/xmax> is 'x'"),
    "nan": (_write(A, xml(box("RBC", 1, "nan", 3, 4))), r"a\.xml: <bndbox/ymin> is 'nan'"),
    "unknown class": (_write(A, xml(box("rbc", 1, 2, 9, 9))), r"a\.xml: unknown class 'rbc'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_named_and_nothing_written(case: str, voc: Path, tmp_path: Path) -> None:
    spoil, message = BAD_INPUT[case]
    spoil(voc)
    with pytest.raises(bccd.ConversionError, match=message):
        bccd.convert(voc, tmp_path / "out", [voc / "JPEGImages"], symlink=False)
    assert not (tmp_path / "out").exists()
