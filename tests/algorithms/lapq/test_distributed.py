"""Calibration images shared out over two processes: the search of one process, bit by bit."""

import json
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
    method="lapq",
    num_images=5,
    baseline=False,
    eval_float=False,
    steps=[
        dict(type="LpInterpolation", num_points=3),
        dict(type="JointSearch", group="unit", max_evals=15, held_out=0.4),
    ],
)
"""
LOGS = ("lp_interpolation.jsonl", "joint_search.jsonl", "joint_search_held_out.jsonl")


def quantize(launcher: list[str], *arguments: Any) -> None:
    command = [sys.executable, *launcher, REPO / "tools/quantize.py", *arguments]
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def evaluations(work_dir: Path, name: str) -> list[Any]:
    lines = (work_dir / "stages" / name).read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_two_processes_search_as_one(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.py"
    recipe.write_text(RECIPE)
    config = tiny_project("faster_rcnn").config
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]
    bits = ["--cfg-options", "qconfig.weight.num_bits=4", "qconfig.act.num_bits=4"]
    one, two = tmp_path / "one", tmp_path / "two"
    quantize([], config, "--recipe", recipe, "--work-dir", one, *bits)
    quantize(
        launcher, config, "--recipe", recipe, "--work-dir", two, "--launcher", "pytorch", *bits
    )
    for name in LOGS:
        assert evaluations(one, name) == evaluations(two, name)
    states = [torch.load(d / "quantized.pth", weights_only=True)["state_dict"] for d in (one, two)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
