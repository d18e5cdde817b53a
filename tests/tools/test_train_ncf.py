import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.recommendation_support import SIZES, make_pairs_project

ROOT = Path(__file__).resolve().parents[2]


def test_training_learns_the_choices(tmp_path: Path) -> None:
    project = make_pairs_project(tmp_path)
    cfg = project.load("_base_/ncf_ml1m", tmp_path / "work")
    cfg.optim_wrapper.optimizer.lr = 0.1
    cfg.param_scheduler[0].end = 2
    cfg.train_dataloader.batch_size = 8
    cfg.train_cfg.val_interval = 100
    cfg.dump(tmp_path / "config.py")
    out = tmp_path / "out/trained.pth"
    command = [sys.executable, "tools/train_ncf.py", "--config", tmp_path / "config.py"]
    command += ["--epochs", "6", "--work-dir", tmp_path / "work", "--out", out]
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (rate,) = (
        float(x.split()[-1]) for x in done.stdout.splitlines() if x.startswith("ranking/HR@10")
    )
    # 10 of the 21 listed items hit by chance: 48 %.
    assert rate > 70
    state = torch.load(out, weights_only=True)["state_dict"]
    assert state["gmf.user.weight"].shape == (SIZES["num_users"], SIZES["gmf_dims"])
