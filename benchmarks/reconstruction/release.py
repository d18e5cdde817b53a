"""An iteration of QDrop as its authors published it, beside which ours is timed.

Their code stays where it is: a clone of https://github.com/wimh966/QDrop, named by --qdrop.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.errors import ConfigError

BITS = 4
# Of their settings for a ResNet (exp/*/r18/config.yaml), what an iteration depends on.
ACTIVATIONS = {"quantizer": "LSQFakeQuantize", "observer": "MinMaxObserver", "ch_axis": -1}
WEIGHTS = {"quantizer": "AdaRoundFakeQuantize", "observer": "MinMaxObserver", "ch_axis": 0}
SETTINGS = {"scale_lr": 4e-5, "weight": 0.01, "warm_up": 0.2, "b_range": (20, 2)}
ITERS, DROP_PROB = 20000, 0.5


def qdrop_iteration(folder: Path, channels: int, images: Sequence[Tensor]) -> Callable[[], Any]:
    """One iteration of the release on a residual block, of the size of ours.

    Args:
        folder: The clone.
        channels: Of the block.
        images: ``(1, channels, H, W)`` each: the mini-batch.

    Raises:
        ConfigError: There is no such clone.
    """
    model, recon = _import(folder)
    weight, act = (
        SimpleNamespace(**kind, bit=BITS, symmetric=False) for kind in (WEIGHTS, ACTIVATIONS)
    )
    float_block = model.BasicBlock(channels, channels, norm_layer=nn.Identity).eval()
    block = model.specials[model.BasicBlock](float_block, weight, act)
    float_in = torch.cat(list(images))
    quant_in = float_in + 0.01
    _calibrate(block, float_in)
    with torch.no_grad():
        target = float_block(float_in)
    weights, steps = _trained(block)
    optimizers = torch.optim.Adam(steps, SETTINGS["scale_lr"]), torch.optim.Adam(weights)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizers[0], ITERS)
    shrinking = {key: SETTINGS[key] for key in ("weight", "warm_up", "b_range")}
    loss = recon.LossFunction(block, iters=ITERS, **shrinking)
    # The regularizer counts from here on: most of the iterations have it.
    loss.count = int(SETTINGS["warm_up"] * ITERS)

    def run() -> None:
        index = torch.randint(len(float_in), (len(float_in),))
        clean, rounded = float_in[index], quant_in[index]
        x = torch.where(torch.rand_like(rounded) < DROP_PROB, rounded, clean)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss(block(x), target[index]).backward()
        for optimizer in optimizers:
            optimizer.step()
        schedule.step()

    return run


def _import(folder: Path) -> tuple[ModuleType, ModuleType]:
    """Their models and their reconstruction."""
    if not (folder / "qdrop/solver/recon.py").exists():
        raise ConfigError(
            f"--qdrop {folder}: holds no qdrop/solver/recon.py; name a clone of "
            "https://github.com/wimh966/QDrop"
        )
    sys.path[:0] = [str(folder), str(folder / "qdrop/solver")]
    # It reads images through torchvision, none of which an iteration needs.
    names: Any = ModuleType("imagenet_utils")
    names.DataSaverHook = names.StopForwardException = object
    sys.modules["imagenet_utils"] = names
    return importlib.import_module("qdrop.model"), importlib.import_module("recon")


def _calibrate(block: nn.Module, x: Tensor) -> None:
    """Ranges of one batch, then every quantizer on."""
    state = importlib.import_module("qdrop.quantization.state")
    state.enable_calibration_woquantization(block)
    with torch.no_grad():
        block(x)
    state.enable_quantization(block)


def _trained(block: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """What is learned: roundings of weights and steps of activations, which also drop."""
    weights, steps = [], []
    for name, module in block.named_modules():
        if isinstance(module, nn.Conv2d):
            quantizer: Any = module.weight_fake_quant
            quantizer.init(module.weight.data, "learned_hard_sigmoid")
            weights.append(quantizer.alpha)
        elif "post_act_fake_quantize" in name and hasattr(module, "scale"):
            activation: Any = module
            activation.drop_prob = DROP_PROB
            steps.append(activation.scale)
    return weights, steps
