from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, init_default_scope

from mmptq.engine import CalibrationSet
from mmptq.engine.data import calibration_set as module
from mmptq.engine.data.calibration_set import choose_images
from mmptq.errors import CalibrationDataError
from mmptq.runner.calib_dataset import calibration_dataset_cfg
from tests.tiny_project import NUM_TRAIN


@pytest.fixture
def dataset(tiny_project: Any, tmp_path: Path) -> Any:
    init_default_scope("mmdet")
    return DATASETS.build(calibration_dataset_cfg(tiny_project("retinanet").load(tmp_path)))


def make(dataset: Any, folder: Path, num_images: int = 5, seed: int = 0, gb: float = 1.0) -> Any:
    return CalibrationSet(dataset, num_images, seed, gb, folder)


def inputs(data: CalibrationSet) -> dict[int, torch.Tensor]:
    return {position: batch["inputs"][0] for position, batch in data}


def test_choice_depends_on_the_seed_only():
    assert choose_images(100, 10, 3) == choose_images(100, 10, 3)
    assert choose_images(100, 10, 3) != choose_images(100, 10, 4)
    assert sorted(choose_images(20, 20, 1)) == list(range(20))
    # More images begin with the same ones, so that results for growing sets are comparable.
    assert choose_images(100, 20, 3)[:10] == choose_images(100, 10, 3)


def test_choice_does_not_touch_the_global_generators():
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    choose_images(50, 5, 9)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_images_are_those_of_the_dataset_in_the_chosen_order(dataset, tmp_path):
    data = make(dataset, tmp_path)
    assert len(data) == 5
    for position, batch in data:
        index = data.indices[position]
        assert data.paths[position] == dataset.get_data_info(index)["img_path"]
        assert torch.equal(batch["inputs"][0], dataset[index]["inputs"])
        assert batch["data_samples"][0].img_path == data.paths[position]


def test_random_distortions_are_those_of_the_image_and_the_seed(tiny_project, tmp_path):
    init_default_scope("mmdet")
    cfg = calibration_dataset_cfg(tiny_project("retinanet").load(tmp_path))
    cfg["pipeline"].insert(-1, dict(type="RandomAffine"))
    dataset = DATASETS.build(cfg)
    found = []
    for num_images, folder in ((5, "a"), (3, "b")):
        before = np.random.get_state()[1].copy()
        data = make(dataset, tmp_path / folder, num_images)
        assert np.array_equal(np.random.get_state()[1], before)
        found.append(inputs(data))
    assert all(torch.equal(found[0][position], image) for position, image in found[1].items())
    other = make(dataset, tmp_path / "c", num_images=9, seed=1)
    same = [p for p, index in enumerate(other.indices) if index == data.indices[0]]
    assert not torch.equal(inputs(other)[same[0]], found[1][0])


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_processes_share_the_images_of_one(world_size, dataset, tmp_path, monkeypatch):
    whole = inputs(make(dataset, tmp_path))
    monkeypatch.setattr(module, "get_world_size", lambda: world_size)
    shares = []
    for rank in range(world_size):
        monkeypatch.setattr(module, "get_rank", lambda rank=rank: rank)
        shares.append(inputs(make(dataset, tmp_path)))
    assert sorted(p for share in shares for p in share) == list(range(5))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(torch.equal(whole[p], image) for share in shares for p, image in share.items())


@pytest.mark.parametrize("gb", [0.0, 1.0])
def test_every_image_is_decoded_once(gb, dataset, tmp_path, monkeypatch):
    decoded: Counter[int] = Counter()
    original = type(dataset).__getitem__

    def counted(self: Any, index: int) -> Any:
        decoded[index] += 1
        return original(self, index)

    monkeypatch.setattr(type(dataset), "__getitem__", counted)
    data = make(dataset, tmp_path, gb=gb)
    passes = [inputs(data) for _ in range(3)]
    assert decoded == Counter(data.indices)
    assert all(torch.equal(passes[0][p], later[p]) for later in passes for p in range(5))


def test_a_batch_may_be_written_to(dataset, tmp_path):
    data = make(dataset, tmp_path)
    for _, batch in data:
        batch["data_samples"][0].set_metainfo({"pad_shape": (1, 1)})
        batch["data_samples"][0].gt_instances.bboxes.tensor.zero_()
    for _, batch in data:
        assert "pad_shape" not in batch["data_samples"][0]
        assert batch["data_samples"][0].gt_instances.bboxes.tensor.any()


@pytest.mark.parametrize(("size", "message"), [(0, "is empty"), (7, "has 7 images; set it to 7")])
def test_too_few_images(size, message):
    with pytest.raises(CalibrationDataError, match=message):
        choose_images(size, 8, 0)


@pytest.mark.parametrize("kept", [slice(0, -1), slice(0, 0)])
def test_pipeline_that_packs_nothing(kept, dataset, tmp_path):
    dataset.pipeline.transforms = dataset.pipeline.transforms[kept]
    with pytest.raises(CalibrationDataError, match=r"makes no 'inputs' .* PackDetInputs"):
        make(dataset, tmp_path)


def test_size_that_the_pipeline_does_not_tell_is_not_compared(dataset, tmp_path):
    dataset.pipeline.transforms[-1].meta_keys = ("img_id", "img_path")
    assert len(make(dataset, tmp_path)) == 5
