"""The shipped float detectors: form, size, and the mAP that the documentation gives for them."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner

from mmptq.datasets import make_digits

ROOT = Path(__file__).resolve().parents[2]
MAP = {"retinanet": 0.614, "faster_rcnn": 0.659, "retinanet_swin": 0.689}


def _config(model: str) -> Config:
    return Config.fromfile(ROOT / f"configs/demo/_base_/{model}_digits.py")


@pytest.mark.parametrize("model", MAP)
def test_checkpoint_is_small_plain_and_fits_the_config(model):
    register_all_modules()
    cfg = _config(model)
    path = ROOT / cfg.load_from
    assert path.stat().st_size < 3 * 2**20
    saved = torch.load(path, weights_only=True)
    assert saved["meta"]["dataset_meta"]["classes"] == tuple("0123456789")
    MODELS.build(cfg.model).load_state_dict(saved["state_dict"], strict=True)


@pytest.mark.parametrize("model", MAP)
def test_map_of_the_shipped_weights(model, tmp_path_factory, tmp_path):
    # The validation images do not depend on how many training images there are.
    base = tmp_path_factory.getbasetemp() / "digits_val"
    data = make_digits(base, num_images={"train": 1, "val": 120})
    cfg = _config(model)
    cfg.work_dir = str(tmp_path)
    cfg.load_from = str(ROOT / cfg.load_from)
    for key in ("val_dataloader", "test_dataloader", "train_dataloader"):
        cfg[key].dataset.data_root = str(data)
    cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = f"{data}/annotations/val.json"
    metrics = Runner.from_cfg(cfg).test()
    assert metrics["coco/bbox_mAP"] == pytest.approx(MAP[model], abs=0.003)
