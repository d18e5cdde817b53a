import json
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmptq.errors import MmptqError
from mmptq.fileio import atomic_write, save_json, save_text


def test_makes_the_folder_and_leaves_only_the_file(tmp_path):
    path = tmp_path / "a" / "b.bin"
    with atomic_write(path) as file:
        file.write(b"first")
    with atomic_write(path) as file:
        file.write(b"second")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["b.bin"]


def test_an_interrupted_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half of the ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


@contextmanager
def full_disk():
    """Every file of this process may have 4 kB, a stand-in for a disk that fills up."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:  # before pytest writes its own, longer log
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(b"old")
    with pytest.raises(MmptqError, match="results.json"), full_disk(), atomic_write(path) as file:
        file.write(bytes(100_000))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "results.json"
    message = r"cannot write .*results.json.*--work-dir"
    with pytest.raises(MmptqError, match=message), atomic_write(path) as file:
        file.write(b"x")


def test_text_whose_name_holds_half_a_character(tmp_path):
    save_text(tmp_path / "a.txt", "K\u00f6ln \udce9")
    assert (tmp_path / "a.txt").read_text() == "K\u00f6ln ?"


def test_json_of_what_json_does_not_know(tmp_path):
    save_json(tmp_path / "a.json", {"path": Path("x/y"), "values": [1, 0.5, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "path": "x/y",
        "values": [1, 0.5, None],
    }


def test_an_error_names_the_option_that_chooses_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MmptqError, match="choose another one with --out"):
        save_json(tmp_path / "file" / "a.json", {}, "--out")
