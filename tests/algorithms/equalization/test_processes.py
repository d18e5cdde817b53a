"""Calibration images shared out over two processes give the factors of one process."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.tiny_project import REPO, TinyProject

RECIPE = """
calib_cfg = dict(
    method="equalized",
    num_images=5,
    baseline=False,
    eval_float=False,
    steps=[dict(type="Equalization", explicit=True), dict(type="RangeCalibration")],
)
"""


def quantize(launcher: list[str], *arguments: Any) -> None:
    command = [sys.executable, *launcher, REPO / "tools/quantize.py", *arguments]
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_two_processes_find_the_factors_of_one(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.py"
    recipe.write_text(RECIPE)
    config = tiny_project("retinanet").config
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]
    one, two = tmp_path / "one", tmp_path / "two"
    quantize([], config, "--recipe", recipe, "--work-dir", one)
    quantize(launcher, config, "--recipe", recipe, "--work-dir", two, "--launcher", "pytorch")
    states = [torch.load(d / "quantized.pth", weights_only=True)["state_dict"] for d in (one, two)]
    assert states[0].keys() == states[1].keys()
    assert any(key.endswith(".input_factor") for key in states[0])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
