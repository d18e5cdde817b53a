import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.apis import init_detector

from mmptq.datasets import make_digits

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("model", ["retinanet", "faster_rcnn", "dino"])
def test_one_short_epoch_ends_in_a_checkpoint_that_mmdet_opens(model, tmp_path):
    data = make_digits(tmp_path / "data", num_images={"train": 9, "val": 2})
    out = tmp_path / "small.pth"
    command = [sys.executable, "tools/train_demo.py", model, "--epochs", "1", "--from-scratch"]
    command += ["--work-dir", tmp_path / "work", "--data-root", data, "--out", out]
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "bbox_mAP: " in done.stdout
    saved = torch.load(out, weights_only=True)
    floats = {v.dtype for v in saved["state_dict"].values() if v.is_floating_point()}
    assert floats == {torch.float16}
    detector = init_detector(f"configs/demo/_base_/{model}_digits.py", str(out), device="cpu")
    assert detector.dataset_meta["classes"] == tuple("0123456789")
    # The weights on disk are the trained ones, not those of the initialization.
    if model == "dino":  # its backbone is frozen, and its attention begins with zeros
        assert detector.encoder.layers[0].self_attn.sampling_offsets.weight.any()
    else:
        assert int(detector.backbone.bn1.num_batches_tracked) >= 1
