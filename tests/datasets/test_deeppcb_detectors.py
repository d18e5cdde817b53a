"""The float detectors that ship for DeepPCB: form, size, and what they find on a drawn board."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
DETECTORS = ("retinanet", "faster_rcnn")
CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
COPPER, BOARD = 0, 255
# On the drawn board, as large as those of the set: with some of the surroundings.
DEFECTS = {
    "open": (185, 83, 217, 117),
    "short": (314, 208, 358, 242),
    "copper": (408, 408, 438, 438),
    "pin-hole": (488, 210, 520, 240),
}


def config(model: str) -> Config:
    return Config.fromfile(ROOT / f"configs/deeppcb/{model}_mobilenetv2_w8a8_mmse.py")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A board of 640x640 with four defects."""
    image = np.full((640, 640, 3), BOARD, np.uint8)

    def fill(x0: int, y0: int, x1: int, y1: int, colour: int = COPPER) -> None:
        image[y0:y1, x0:x1] = colour

    fill(40, 96, 600, 104)  # a line ...
    fill(194, 94, 207, 106, BOARD)  # ... that is open
    for x in range(160, 400, 32):  # pads
        fill(x - 6, 170, x + 6, 290)
    fill(324, 222, 348, 228)  # two of them joined
    fill(440, 212, 570, 238)  # a wide line ...
    fill(499, 222, 510, 228, BOARD)  # ... with a hole
    cv2.circle(image, (423, 423), 5, (COPPER,) * 3, -1)
    fill(40, 520, 600, 528)
    path = tmp_path_factory.mktemp("board") / "board_test.jpg"
    cv2.imwrite(str(path), image)
    return str(path)


@pytest.mark.parametrize("model", DETECTORS)
def test_checkpoint_is_small_plain_and_fits_the_config(model: str) -> None:
    register_all_modules()
    float_cfg = Config.fromfile(ROOT / f"configs/deeppcb/_base_/{model}_mobilenetv2_deeppcb.py")
    path = Path(config(model).load_from)
    assert path.stat().st_size < 10e6
    saved = torch.load(path, weights_only=True)
    assert saved["meta"]["dataset_meta"]["classes"] == CLASSES == float_cfg.metainfo.classes
    weights = [v for v in saved["state_dict"].values() if v.is_floating_point()]
    assert {v.dtype for v in weights} == {torch.float16}
    assert all(v.isfinite().all() for v in weights)
    MODELS.build(float_cfg.model).load_state_dict(saved["state_dict"], strict=True)


@pytest.mark.parametrize("model", DETECTORS)
def test_finds_the_defects_of_a_drawn_board(model: str, board: str) -> None:
    cfg = config(model)
    detector: nn.Module = init_detector(cfg, cfg.load_from, device="cpu")
    found = inference_detector(detector, board).pred_instances
    assert found.bboxes.isfinite().all() and found.scores.isfinite().all()
    found = found[found.scores > 0.5]
    boxes = {CLASSES[label]: box for label, box in zip(found.labels, found.bboxes, strict=True)}
    assert len(found) == len(DEFECTS) and boxes.keys() == DEFECTS.keys()
    drawn = torch.tensor([DEFECTS[name] for name in boxes], dtype=torch.float32)
    assert bbox_overlaps(torch.stack([*boxes.values()]), drawn, is_aligned=True).min() > 0.5
