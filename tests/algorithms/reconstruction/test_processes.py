"""Reconstruction through tools/quantize.py: two processes, and one that is killed within a unit."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_project import REPO, TinyProject

MMSE = "dict(type='LpNormObserver', p=2.0)"
RECIPE = f"""
custom_imports = dict(imports=["keep_state"])
calib_cfg = dict(
    method="reconstruction",
    num_images=6,
    baseline=False,
    eval_float=False,
    steps=[
        dict(type="RangeCalibration", weight={MMSE}, act={MMSE}),
        dict(type="KeepState", name="before"),
        STEP,
        dict(type="KeepState", name="after"),
    ],
)
"""
SIZE = "preset='fast', iters=ITERS, batch_size=2, accumulate=2, probe_images=2"
SHRINK = (
    "dict(type='BitShrinking', adaptive_rounding=0.3, drop_prob=0.5, checkpoint_interval=10, "
    f"{SIZE})"
)
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
    """Starts tools/quantize.py with one recipe."""

    def __init__(self, folder: Path, config: Path, step: str, iters: int) -> None:
        (folder / "keep_state.py").write_text(KEEP_STATE)
        self._recipe = folder / "recipe.py"
        self._recipe.write_text(RECIPE.replace("STEP", step).replace("ITERS", str(iters)))
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


def load(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "step"),
    [("retinanet", SHRINK), ("faster_rcnn", f"dict(type='BRECQ', fisher=True, {SIZE})")],
)
def test_two_processes_end_in_one_model(
    family: str, step: str, tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}")
    tool = Tool(tmp_path, tiny_project(family).config, step, 10)
    tool.run(tmp_path / "two", "--launcher", "pytorch", launcher=launcher)
    states = [load(tmp_path / "two" / f"after{rank}.pth") for rank in (0, 1)]
    assert same(*states)
    assert not same(states[0], load(tmp_path / "two/before0.pth"))


@pytest.mark.slow
def test_killed_within_a_unit_it_resumes_to_the_same_bits(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    tool = Tool(tmp_path, tiny_project("retinanet").config, SHRINK, 40)
    tool.run(tmp_path / "whole")
    killed = tmp_path / "killed"
    process = tool.start(killed)
    stages = killed / "stages"
    while process.poll() is None:
        # The second unit has begun and has saved its state.
        if (stages / "units_BitShrinking.pth").exists() and load_unit(stages) == 1:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    tool.run(killed, "--resume")
    assert same(load(tmp_path / "whole/after0.pth"), load(killed / "after0.pth"))


def load_unit(stages: Path) -> int | None:
    """The unit to which the snapshot belongs."""
    try:
        saved = torch.load(stages / "snapshot_BitShrinking.pth", weights_only=True)
    except FileNotFoundError:
        return None
    return saved["unit"]
