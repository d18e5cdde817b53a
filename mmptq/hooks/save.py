"""The quantized checkpoint."""

import ast
import logging
import os
import time
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import get_state_dict, weights_to_cpu
from torch import nn

import mmptq
from mmptq.evaluation import Results
from mmptq.fileio import plain, save_torch
from mmptq.models import packed_state, stays_float
from mmptq.models.specs import check_bool
from mmptq.registry import HOOKS


@HOOKS.register_module()
class SaveQuantizedHook(Hook):
    """Saves the calibrated model in MMEngine's checkpoint form, whole or not at all.

    It holds plain types and tensors only, so ``torch.load(weights_only=True)`` and all of
    MMDetection's entry points read it.

    Args:
        filename: Name in the work dir, or a path.
        packed: Weights as integer codes of their own number of bits in place of floats, and
            everything in one blob; it opens everywhere to the same outputs, bit for bit.

    Raises:
        ConfigError: ``packed`` is no switch.
    """

    # Before hooks that draw or report: what took long to compute is safe first.
    priority = "HIGH"

    def __init__(self, filename: str = "quantized.pth", packed: bool = False) -> None:
        self.filename = filename
        self.packed = check_bool(packed, "calib_hooks.save.packed")

    def after_calibrate(self, runner: Any, results: Results) -> None:
        """Save ``runner.model``.

        Raises:
            MmptqError: The file cannot be written; one of that name is left as it was.
        """
        if not is_main_process():
            return
        path = Path(runner.work_dir, self.filename)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        save_checkpoint(path, model, checkpoint_meta(runner, results), self.packed)
        size = f"{path.stat().st_size / 1e6:.2f} MB{', packed' if self.packed else ''}"
        print_log(f"quantized checkpoint: {path} ({size})", logger="current")


def checkpoint_meta(runner: Any, results: Results) -> dict[str, Any]:
    """What MMDetection looks for beside the weights, and where they come from."""
    visualizer = getattr(runner, "visualizer", None)
    dataset_meta = getattr(visualizer, "dataset_meta", None)
    return plain(
        {
            "mmptq_version": mmptq.__version__,
            "cfg": runner.cfg.pretty_text,
            "dataset_meta": dataset_meta or {},
            "epoch": 0,
            "iter": 0,
            "seed": getattr(runner, "seed", None),
            "experiment_name": getattr(runner, "experiment_name", ""),
            "time": time.strftime("%Y%m%d_%H%M%S"),
            "results": results.to_dict(),
        }
    )


def save_checkpoint(
    path: str | os.PathLike[str], model: nn.Module, meta: dict[str, Any], packed: bool = False
) -> None:
    """Write ``{'meta', 'state_dict'}``; ``packed`` as :func:`mmptq.models.packed_state` does.

    The results stay out of a packed file: of a small model's they would be a percent, and
    ``results.json`` has them.

    Raises:
        MmptqError: The file cannot be written.
    """
    if not packed:
        state = weights_to_cpu(get_state_dict(model))
        save_torch(path, {"meta": meta, "state_dict": state})
        return
    small = {key: value for key, value in meta.items() if key != "results"}
    if "cfg" in small:
        small["cfg"] = _without_layout(small["cfg"])
    save_torch(path, {"meta": small, "state_dict": packed_state(model)})
    _report_float(stays_float(model))


def _without_layout(source: str) -> str:
    """The same config in fewer bytes: a third of MMEngine's text is indentation."""
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:  # a user's object whose repr is no code
        return source


def _report_float(reasons: dict[str, str]) -> None:
    if reasons:
        name, reason = next(iter(reasons.items()))
        print_log(
            f"{len(reasons)} quantized weights are stored in float, first {name!r}: {reason}",
            logger="current",
            level=logging.WARNING,
        )
