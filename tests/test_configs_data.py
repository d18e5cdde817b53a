"""The sets of configs/: what they share is inherited, what they add fits together."""

from pathlib import Path

import pytest
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DETECTION = sorted(CONFIGS.glob("*/_base_/*_detection.py"))
CLASSIFICATION = [CONFIGS / f"classification/_base_/{n}.py" for n in ("cifar10", "imagenet")]
CLASSIFICATION.append(CONFIGS / "classification/_base_/digit_crops.py")


@pytest.mark.parametrize("path", DETECTION, ids=lambda path: path.stem)
def test_a_detection_set(path: Path) -> None:
    cfg = Config.fromfile(path)
    for split in ("train", "val"):
        dataset = cfg[f"{split}_dataloader"].dataset
        assert dataset.data_root == cfg.data_root
        assert dataset.ann_file == f"annotations/{split}.json"
        assert dataset.data_prefix == dict(img=f"{split}/")
        assert dataset.pipeline == cfg[f"{'test' if split == 'val' else 'train'}_pipeline"]
    assert cfg.train_dataloader.dataset.get("metainfo") == cfg.get("metainfo")
    assert [step.scale for step in cfg.test_pipeline if step.type == "Resize"]
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.test_evaluator == cfg.val_evaluator
    assert cfg.test_evaluator.ann_file == cfg.data_root + cfg.test_dataloader.dataset.ann_file


@pytest.mark.parametrize("path", CLASSIFICATION, ids=lambda path: path.stem)
def test_a_classification_set(path: Path) -> None:
    cfg = Config.fromfile(path)
    loaders = [cfg.train_dataloader, cfg.test_dataloader]
    assert len({loader.dataset.data_prefix.img for loader in loaders}) == 2
    for loader in loaders:
        assert loader.dataset.data_root == cfg.data_root
        assert loader.dataset.pipeline[-1].type == "mmptq.PackClassInputs"
        assert loader.batch_size and loader.persistent_workers == (loader.num_workers > 0)
    if "val_dataloader" in cfg:
        assert cfg.val_dataloader == cfg.test_dataloader
        assert cfg.val_evaluator == cfg.test_evaluator


def test_distorted_calibration_images_are_the_training_images() -> None:
    """It stands alone, to be put on top of any config, so what it repeats is compared."""
    folder = CONFIGS / "bccd/_base_"
    distorted = Config.fromfile(folder / "distorted_calibration.py").calib_dataloader.dataset
    plain = Config.fromfile(folder / "bccd_detection.py").train_dataloader.dataset
    assert {**distorted, "pipeline": None} == {**plain, "pipeline": None}
