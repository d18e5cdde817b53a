import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.apis import init_detector
from train_demo import train

from mmptq.datasets import make_digits

ROOT = Path(__file__).resolve().parents[2]


MORE = {"retinanet": [], "faster_rcnn": [], "retinanet_swin": ["--bfloat16"], "dino": []}


@pytest.mark.parametrize(("model", "more"), MORE.items())
def test_one_short_epoch_ends_in_a_checkpoint_that_mmdet_opens(model, more, tmp_path):
    data = make_digits(tmp_path / "data", num_images={"train": 9, "val": 2})
    out = tmp_path / "small.pth"
    command = [sys.executable, "tools/train_demo.py", model, "--epochs", "1", "--from-scratch"]
    command += [*more, "--work-dir", tmp_path / "work", "--data-root", data, "--out", out]
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
    if model == "retinanet_swin":
        assert detector.backbone.norm0.bias.any()
    elif model == "dino":  # its backbone is frozen, and its attention begins with zeros
        assert detector.encoder.layers[0].self_attn.sampling_offsets.weight.any()
    else:
        assert int(detector.backbone.bn1.num_batches_tracked) >= 1


class TwoIterations:
    """A runner of a layer that predicts, whose weights change between two iterations."""

    def __init__(self):
        self.model = torch.nn.ModuleDict({"fc_cls": torch.nn.Linear(4, 2)})

    def train(self):
        layer, images = self.model["fc_cls"], torch.ones(1, 4)
        before = layer(images)
        before.sum().backward()
        with torch.no_grad():
            layer.weight -= layer.weight.grad
        return before, layer(images)


def test_bfloat16_reads_the_weights_of_each_iteration():
    before, after = train(TwoIterations(), bfloat16=True)
    assert before.dtype == after.dtype == torch.float32
    assert torch.allclose(before - after, torch.tensor(4.0), atol=0.05)
