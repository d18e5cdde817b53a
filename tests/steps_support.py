"""What the tests of the methods have in common: a small detector, steps of few iterations."""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmptq.algorithms import (
    BRECQ,
    AdaRound,
    BitShrinking,
    LearnedSteps,
    QDrop,
    Reconstruction,
)
from mmptq.engine import CalibrationContext

# Enough to have the first layer, blocks, single layers and a head over several levels.
SMALL = dict(
    scope="full",
    weight=dict(num_bits=4),
    act=dict(num_bits=4),
    overrides=[
        dict(pattern=pattern, weight=None, act=None)
        for pattern in (
            "backbone.layer[124]*",
            "neck.fpn*",
            "neck.lateral_convs.[01]*",
            "*retina*",
            "bbox_head.reg*",
            "bbox_head.cls_convs.1*",
        )
    ],
)
METHODS: dict[str, Callable[..., Reconstruction]] = {
    "adaround": AdaRound,
    "brecq": BRECQ,
    "fisher": lambda **k: BRECQ(fisher=True, **k),
    "learned_steps": LearnedSteps,
    "qdrop": QDrop,
    "outputs": lambda **k: QDrop(fisher="outputs", **k),
    "shrink": BitShrinking,
    "rounded": lambda **k: BitShrinking(adaptive_rounding=0.4, **k),
    "direct": lambda **k: BitShrinking(mode="direct", **k),
    "progressive": lambda **k: BitShrinking(mode="progressive", **k),
}


def make_step(method: str, **changes: Any) -> Reconstruction:
    defaults = dict(preset="fast", iters=20, batch_size=2, probe_images=2)
    return METHODS[method](**{**defaults, **changes})


def state(context: CalibrationContext) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in context.model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[key].nan_to_num(), b[key].nan_to_num()) for key in a
    )


def summary(context: CalibrationContext, step: Reconstruction) -> list[dict[str, Any]]:
    folder = context.store.folder.parent / "reconstruction" / type(step).__name__
    return json.loads((folder / "summary.json").read_text())


def run(context: CalibrationContext, step: Reconstruction) -> dict[str, Tensor]:
    torch.manual_seed(0)
    step.run(context)
    return state(context)
