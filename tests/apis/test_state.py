"""A run through mmptq.apis leaves the process as it was."""

import os
import random
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmptq.apis import quantize
from mmptq.apis.state import restored_state
from mmptq.errors import MmptqError


def snapshot() -> dict[str, Any]:
    scope = DefaultScope.get_current_instance()
    return {
        "cwd": os.getcwd(),
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "scope": scope and scope.scope_name,
        "instances": {c: list(c._instance_dict.items()) for c in (MMLogger, Visualizer)},
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "torch": torch.get_rng_state().tolist(),
        "deterministic": torch.backends.cudnn.deterministic,
        "benchmark": torch.backends.cudnn.benchmark,
        "threads": (torch.get_num_threads(), cv2.getNumThreads()),
        "start": torch.multiprocessing.get_start_method(),
    }


@pytest.fixture
def before() -> dict[str, Any]:
    torch.multiprocessing.get_start_method()  # its default is chosen when it is first asked for
    with DefaultScope.overwrite_default_scope("mmengine"):
        yield snapshot()


@pytest.mark.parametrize("wrong", [False, True])
def test_a_run_and_a_refused_one_leave_no_trace(wrong, before, tiny_project):
    project = tiny_project("retinanet")
    cfg = project.load("unused", env_cfg=dict(cudnn_benchmark=True), randomness=dict(seed=7))
    if wrong:
        with pytest.raises(MmptqError, match="none.pth"):
            quantize(cfg, checkpoint="none.pth")
    else:
        quantize(cfg, recipe={"num_images": 2, "eval_float": False, "baseline": False})
    assert snapshot() == before


def test_what_is_restored_has_changed_meanwhile(before):
    with restored_state():
        MMLogger.get_instance("another")
        torch.manual_seed(1), random.seed(1), np.random.seed(1)
        os.environ["MMPTQ_ANOTHER"] = "1"
        torch.backends.cudnn.benchmark = not before["benchmark"]
        changed = snapshot()
    different = {key for key in before if before[key] != changed[key]}
    assert different >= {"environment", "instances", "python", "numpy", "torch", "benchmark"}
    assert snapshot() == before
