import gc

import pytest
import torch

from mmptq.engine import TensorCache
from mmptq.engine.storage import tensor_cache as module
from mmptq.errors import MmptqError

KILOBYTE = 1 / 2**20  # in GiB


def tensors(count: int) -> list[torch.Tensor]:
    """Of 400 bytes each."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(10, 10, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("max_gb", "kept"), [(0.0, 0), (KILOBYTE * 400 / 1024, 1), (KILOBYTE, 2), (1.0, 5)]
)
def test_first_tensors_stay_in_memory_and_all_come_back_in_order(max_gb, kept, tmp_path):
    cache, wanted = TensorCache(max_gb, tmp_path), tensors(5)
    for tensor in wanted:
        cache.append(tensor)
    assert cache.bytes_in_memory == 400 * kept
    assert cache.bytes_on_disk == 400 * (5 - kept)
    assert len(list(tmp_path.rglob("*.pt"))) == 5 - kept
    for _ in range(2):
        assert len(cache) == 5
        assert all(torch.equal(a, b) for a, b in zip(cache, wanted, strict=True))
    assert torch.equal(cache[3], wanted[3])


def test_smaller_tensor_fits_behind_one_that_did_not(tmp_path):
    cache = TensorCache(KILOBYTE, tmp_path)
    for size in (200, 100, 50):  # 800, 400, 200 bytes
        cache.append(torch.full((size,), float(size)))
    assert (cache.bytes_in_memory, cache.bytes_on_disk) == (1000, 400)
    assert [len(tensor) for tensor in cache] == [200, 100, 50]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.int64, torch.bool])
def test_spilled_tensors_keep_dtype_and_layout(dtype, tmp_path):
    tensor = torch.randint(0, 2, (2, 3, 4), generator=torch.Generator().manual_seed(0)).to(dtype)
    cache = TensorCache(0.0, tmp_path)
    cache.append(tensor.permute(2, 0, 1))
    assert cache[0].dtype == dtype
    assert torch.equal(cache[0], tensor.permute(2, 0, 1))


def test_a_view_of_a_large_tensor_does_not_take_it_to_the_disk(tmp_path):
    cache = TensorCache(0.0, tmp_path)
    cache.append(torch.zeros(1000, 1000)[:, 0])
    assert next(tmp_path.rglob("*.pt")).stat().st_size < 20_000
    cache.append(torch.zeros(1000, 1000)[0])
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.pt")) < 40_000


def test_gradients_are_cut(tmp_path):
    cache = TensorCache(1.0, tmp_path)
    cache.append(torch.ones(2, requires_grad=True) * 2)
    assert not cache[0].requires_grad


def test_files_go_with_the_cache(tmp_path):
    cache = TensorCache(0.0, tmp_path)
    cache.append(torch.zeros(3))
    assert list(tmp_path.iterdir())
    del cache
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_while_all_fits(tmp_path):
    TensorCache(1.0, tmp_path / "new").append(torch.zeros(3))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")]
)
def test_full_disk(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(module.torch, "save", fail)
    cache = TensorCache(0.0, tmp_path)
    with pytest.raises(MmptqError, match=f"cannot spill .*{tmp_path}.*cache_gb"):
        cache.append(torch.zeros(3))
    assert len(cache) == 0


def test_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MmptqError, match="cannot spill"):
        TensorCache(0.0, tmp_path / "file").append(torch.zeros(3))
