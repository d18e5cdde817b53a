from pathlib import Path

import pytest
import torch

from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.errors import MmptqError


def test_spills_what_does_not_fit_and_reads_it_back_with_its_strides(tmp_path: Path) -> None:
    store = TensorStore(1000 / 2**30, tmp_path)
    small = torch.randn(10)
    large = torch.randn(2, 8, 8, 8).to(memory_format=torch.channels_last)
    store.put("small", [small])
    store.put("large", [large, small])
    assert (store.bytes_in_memory, store.bytes_on_disk) == (40, 4096 + 40)
    assert store.get("small")[0].data_ptr() == small.data_ptr()
    back = store.get("large")
    assert torch.equal(back[0], large)
    assert back[0].stride() == large.stride()
    assert "large" in store
    assert "other" not in store


def test_replacing_and_dropping_gives_room(tmp_path: Path) -> None:
    store = TensorStore(100 / 2**30, tmp_path)
    for value in (1.0, 2.0):
        store.put("a", [torch.full((20,), value)])
        store.put("b", [torch.full((20,), -value)])
    assert (store.bytes_in_memory, store.bytes_on_disk) == (80, 80)
    assert (float(store.get("a")[0][0]), float(store.get("b")[0][0])) == (2.0, -2.0)
    assert len(list(tmp_path.rglob("*.pt"))) == 1
    store.drop("a")
    store.drop("b")
    store.drop("never there")
    assert (store.bytes_in_memory, store.bytes_on_disk) == (0, 0)
    assert not list(tmp_path.rglob("*.pt"))
    with pytest.raises(KeyError):
        store.get("a")


def test_files_go_with_the_store(tmp_path: Path) -> None:
    store = TensorStore(0.0, tmp_path)
    store.put("a", [torch.ones(5)])
    assert list(tmp_path.rglob("*.pt"))
    del store
    assert not list(tmp_path.iterdir())


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = TensorStore(0.0, tmp_path / "file")
    with pytest.raises(MmptqError, match="cache_gb"):
        store.put("a", [torch.ones(5)])
