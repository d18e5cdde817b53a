"""The shipped float transformer: form, size, and the accuracy that the documentation gives."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmptq.datasets import make_digit_crops

ROOT = Path(__file__).resolve().parents[2]
TOP1 = 81.90


@pytest.fixture
def cfg() -> Config:
    init_default_scope("mmdet")
    cfg = Config.fromfile(ROOT / "configs/classification/_base_/vit_digits.py")
    cfg.load_from = str(ROOT / cfg.load_from)
    return cfg


def test_checkpoint_is_small_plain_and_fits_the_config(cfg: Config) -> None:
    assert Path(cfg.load_from).stat().st_size < 2 * 2**20
    saved = torch.load(cfg.load_from, weights_only=True)
    assert saved["meta"]["dataset_meta"]["classes"] == tuple("0123456789")
    MODELS.build(cfg.model).load_state_dict(saved["state_dict"], strict=True)


def test_accuracy_of_the_shipped_weights(
    cfg: Config, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    # The validation images do not depend on how many training images there are.
    folder = tmp_path_factory.getbasetemp() / "digit_crops_val"
    data = make_digit_crops(folder, num_images={"train": 100, "val": 2000})
    cfg.work_dir = str(tmp_path)
    cfg.default_hooks.pop("visualization", None)
    for key in ("val_dataloader", "test_dataloader", "train_dataloader"):
        cfg[key].dataset.data_root = str(data)
    metrics = Runner.from_cfg(cfg).test()
    assert metrics["accuracy/top1"] == pytest.approx(TOP1, abs=0.11)
