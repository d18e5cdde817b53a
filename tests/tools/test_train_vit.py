import os
import subprocess
import sys
from pathlib import Path

import torch

from mmptq.datasets import make_digit_crops

ROOT = Path(__file__).resolve().parents[2]


def test_one_short_epoch_ends_in_a_small_checkpoint(tmp_path):
    data = make_digit_crops(tmp_path / "data", num_images={"train": 300, "val": 200})
    out = tmp_path / "small.pth"
    command = [sys.executable, "tools/train_vit.py", "--epochs", "1", "--work-dir"]
    command += [tmp_path / "work", "--data-root", data, "--out", out]
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "accuracy/top1: " in done.stdout
    saved = torch.load(out, weights_only=True)
    floats = {v.dtype for v in saved["state_dict"].values() if v.is_floating_point()}
    assert floats == {torch.float16}
    assert saved["meta"]["dataset_meta"]["classes"] == tuple("0123456789")
    # The weights on disk are the trained ones, not those of the initialization.
    assert int(saved["state_dict"]["patch_embed.1.num_batches_tracked"]) >= 4
