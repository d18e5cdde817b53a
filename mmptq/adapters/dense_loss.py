"""The training loss of a dense head, made deterministic."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.utils import unpack_gt_instances
from torch import Tensor, nn

from mmptq.adapters.base import Samples


@dataclass
class FrozenTargets:
    """Targets of a dense head's anchors for one image, once they are known.

    Args:
        value: What ``get_targets`` returned, ``None`` before the first loss.
    """

    value: Any = None


def dense_loss(
    head: nn.Module, outputs: Any, samples: Samples, frozen: FrozenTargets
) -> dict[str, Tensor]:
    """``head.loss_by_feat`` on raw outputs; samplers draw the same numbers every time.

    Args:
        head: A dense head of MMDetection.
        outputs: What its forward returned.
        samples: Labelled data samples, in the frame of the head's input image.
        frozen: Of the same image. Targets that do not depend on the outputs are computed once.
    """
    labels, ignored, metas = unpack_gt_instances(samples)
    with frozen_random(), _targets_once(head, frozen):
        losses = head.loss_by_feat(*outputs, labels, metas, ignored)  # type: ignore[operator]
    return losses


@contextmanager
def frozen_random(seed: int = 0) -> Iterator[None]:
    """Random numbers are the same every time here, and as if nothing happened afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def _targets_once(head: nn.Module, frozen: FrozenTargets) -> Iterator[None]:
    # Other heads may assign anchors by the outputs.
    if not isinstance(head, AnchorHead) or type(head).get_targets is not AnchorHead.get_targets:
        yield
        return

    def get_targets(*args: Any, **kwargs: Any) -> Any:
        if frozen.value is None:
            frozen.value = AnchorHead.get_targets(head, *args, **kwargs)
        return frozen.value

    head.get_targets = get_targets  # type: ignore[assignment]
    try:
        yield
    finally:
        del head.get_targets
