"""Reconstruction through tools/quantize.py: two processes, and one that is killed within a unit."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.process_support import Tool, load, same, two_processes
from tests.tiny_project import TinyProject

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
    "dict(type='BitShrinking', adaptive_rounding=0.3, drop_prob=0.5, crop=6, "
    f"checkpoint_interval=10, {SIZE})"
)


def recipe(step: str, iters: int) -> str:
    return RECIPE.replace("STEP", step).replace("ITERS", str(iters))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "step"),
    [
        ("retinanet", SHRINK),
        ("faster_rcnn", f"dict(type='BRECQ', fisher=True, {SIZE})"),
        ("retinanet", f"dict(type='QDrop', fisher='outputs', {SIZE})"),
    ],
)
def test_two_processes_end_in_one_model(
    family: str, step: str, tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    tool = Tool(tmp_path, tiny_project(family).config, recipe(step, 10))
    tool.run(tmp_path / "two", "--launcher", "pytorch", launcher=two_processes())
    states = [load(tmp_path / "two" / f"after{rank}.pth") for rank in (0, 1)]
    assert same(*states)
    assert not same(states[0], load(tmp_path / "two/before0.pth"))


@pytest.mark.slow
def test_killed_within_a_unit_it_resumes_to_the_same_bits(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path
) -> None:
    tool = Tool(tmp_path, tiny_project("retinanet").config, recipe(SHRINK, 40))
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
