"""tools/quantize.py in processes of its own, with a recipe that keeps the model's states."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.tiny_project import REPO

KEEP_STATE = """
import torch
from mmengine.dist import get_rank
from mmptq.algorithms.base import Step
from mmptq.registry import STEPS

@STEPS.register_module()
class KeepState(Step):
    def __init__(self, name):
        self.name = name

    def run(self, context):
        path = context.store.folder.parent / f"{self.name}{get_rank()}.pth"
        torch.save(context.model.state_dict(), path)
"""
BITS = ["--cfg-options", "qconfig.weight.num_bits=3", "qconfig.act.num_bits=4"]


class Tool:
    """Starts tools/quantize.py with the text of one recipe."""

    def __init__(self, folder: Path, config: Path, recipe: str) -> None:
        (folder / "keep_state.py").write_text(KEEP_STATE)
        self._recipe = folder / "recipe.py"
        self._recipe.write_text(recipe)
        self._config = config
        path = os.pathsep.join([str(REPO), str(folder)])
        self._env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def start(self, work_dir: Path, *more: str, launcher: tuple[str, ...] = ()) -> Any:
        command = [sys.executable, *launcher, REPO / "tools/quantize.py", self._config]
        command += ["--recipe", self._recipe, "--work-dir", work_dir, *more, *BITS]
        return subprocess.Popen(
            [str(part) for part in command],
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: Any, **kwargs: Any) -> None:
        process = self.start(*args, **kwargs)
        _, errors = process.communicate()
        assert process.returncode == 0, errors


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def two_processes() -> tuple[str, ...]:
    """Arguments of Python that start a script in two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}")
