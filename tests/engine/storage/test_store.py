import json

import pytest
import torch

from mmptq import fileio
from mmptq.engine import StageStore, remove_leftovers
from mmptq.engine.storage import store as module
from mmptq.errors import ConfigError, MmptqError

FINGERPRINT = {"seed": 0, "calib_cfg": {"steps": [{"p": 2.0}], "num_images": 4}}


def test_what_is_saved_comes_back(tmp_path):
    store = StageStore(tmp_path / "new", FINGERPRINT, resume=False)
    content = {"state": {"w": torch.arange(3.0)}, "seconds": 0.1, "names": ["a"], "none": None}
    assert not store.has("stage")
    store.save("stage", content)
    assert store.has("stage")
    found = store.load("stage")
    assert torch.equal(found["state"].pop("w"), content["state"].pop("w"))
    assert found == content


def test_once_computes_once(tmp_path):
    store, calls = StageStore(tmp_path, FINGERPRINT, resume=False), []
    for _ in range(2):
        assert store.once("stage", lambda: calls.append(1) or {"x": 1}) == {"x": 1}
    assert calls == [1]
    store.drop("stage")
    store.drop("stage")
    assert not store.has("stage")


def test_resume_keeps_the_stages_and_a_new_start_does_not(tmp_path):
    StageStore(tmp_path, FINGERPRINT, resume=False).save("stage", 1)
    (tmp_path / "search.jsonl").write_text("{}")
    (tmp_path / "cache_of_this_run").mkdir()
    assert StageStore(tmp_path, FINGERPRINT, resume=True).load("stage") == 1
    assert not StageStore(tmp_path, FINGERPRINT, resume=False).has("stage")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cache_of_this_run", "fingerprint.json"]


def test_resume_in_a_folder_without_a_fingerprint_starts_anew(tmp_path):
    torch.save(1, tmp_path / "stage.pth")
    assert not StageStore(tmp_path, FINGERPRINT, resume=True).has("stage")
    assert json.loads((tmp_path / "fingerprint.json").read_text()) == FINGERPRINT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed = 0, now it is 1"),
        ({"more": "x"}, "more = None, now it is 'x'"),
        (
            {"calib_cfg": {"steps": [{"p": 2.5}], "num_images": 4}},
            r"calib_cfg.steps\[0\].p = 2.0, now it is 2.5",
        ),
        (
            {"calib_cfg": {"steps": [], "num_images": 4}},
            r"calib_cfg.steps = \[{'p': 2.0}\], now it is \[\]",
        ),
        ({"calib_cfg": None}, "calib_cfg = {.*}, now it is None"),
    ],
)
def test_resume_with_another_fingerprint_names_the_innermost_key(change, message, tmp_path):
    StageStore(tmp_path, FINGERPRINT, resume=False).save("stage", 1)
    with pytest.raises(ConfigError, match=f"{tmp_path} was made with {message}"):
        StageStore(tmp_path, {**FINGERPRINT, **change}, resume=True)
    assert StageStore(tmp_path, FINGERPRINT, resume=True).load("stage") == 1


def test_tuples_and_lists_are_the_same_fingerprint(tmp_path):
    StageStore(tmp_path, {"a": (1, 2)}, resume=False)
    StageStore(tmp_path, {"a": [1, 2]}, resume=True)


def test_half_written_stage_does_not_count(tmp_path, monkeypatch):
    store = StageStore(tmp_path, FINGERPRINT, resume=False)

    def die(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(fileio.torch, "save", die)
    with pytest.raises(KeyboardInterrupt):
        store.save("stage", 1)
    assert not store.has("stage")
    assert [path.name for path in tmp_path.iterdir()] == ["fingerprint.json"]


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_stage_is_named(content, tmp_path):
    store = StageStore(tmp_path, FINGERPRINT, resume=False)
    store.save("stage", torch.zeros(100))
    path = tmp_path / "stage.pth"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(MmptqError, match=f"{path} is damaged .*remove it"):
        store.load("stage")


def test_full_disk_keeps_the_old_stage(tmp_path, monkeypatch):
    store = StageStore(tmp_path, FINGERPRINT, resume=False)
    store.save("stage", 1)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fileio.os, "fsync", fail)
    with pytest.raises(MmptqError, match="No space left"):
        store.save("stage", 2)
    assert store.load("stage") == 1


def test_the_main_process_decides_what_is_finished(tmp_path, monkeypatch):
    store = StageStore(tmp_path, FINGERPRINT, resume=False)
    store.save("stage", 1)

    def broadcast(answers):
        answers[0] = False  # the main process looked before the file was there

    monkeypatch.setattr(module, "broadcast_object_list", broadcast)
    assert not store.has("stage")


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "is_main_process", lambda: False)
    store = StageStore(tmp_path / "new", FINGERPRINT, resume=False)
    store.save("stage", 1)
    assert not (tmp_path / "new").exists()


def test_leftovers_are_removed_and_results_stay(tmp_path):
    StageStore(tmp_path, FINGERPRINT, resume=False).save("stage", 1)
    (tmp_path / ".stage.pth.123.tmp").write_bytes(b"half")
    (tmp_path / "cache_abc").mkdir()
    (tmp_path / "cache_abc/0.pt").write_bytes(b"spilled")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fingerprint.json", "stage.pth"]
    remove_leftovers(tmp_path / "none")
