"""Whether the calibration images reach every layer that is to be quantized."""

import itertools
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor, nn

from mmptq.errors import CalibrationDataError
from mmptq.models import Plan, QuantModel
from mmptq.modules import OUTPUTS, expanded_modules

Batches = Iterable[tuple[int, dict[str, Any]]]


@torch.no_grad()
def check_reached(model: QuantModel, plan: Plan, batches: Batches) -> None:
    """Run the float model on images until every planned layer has read something.

    In most runs the first image is enough; heads on what was detected may need more.

    Args:
        model: Not prepared yet.
        plan: Of it.
        batches: ``(position, collated batch)`` of this process.

    Raises:
        CalibrationDataError: No image reaches some layer.
    """
    # An output is read wherever its layer reads something.
    waiting = {layer.name for layer in plan.layers if any(layer.inputs) and layer.kind not in OUTPUTS}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            read = read_by(args, kwargs)
            if read is not None and read.numel():
                waiting.discard(name)

        return hook

    with ExitStack() as stack:
        # Some layers are called, and operands are there, in the expanded form alone.
        stack.enter_context(expanded_modules(model.model))
        for name in waiting:
            layer = model.model.get_submodule(name)
            hook = layer.register_forward_pre_hook(watch(name), with_kwargs=True)
            stack.callback(hook.remove)
        for _, batch in batches:
            if not waiting:
                break
            model.test_step(batch)
    nowhere = set.intersection(*all_gather_object(waiting))
    hosts = {layer.name: layer.host for layer in plan.layers}
    watched = ((site.name, {hosts[layer] for layer, _ in site.watch}) for site in plan.sites)
    check_seen(plan, (site for site, layers in watched if layers <= nowhere))


def check_seen(plan: Plan, unseen: Iterable[str]) -> None:
    """Make sure that every site has a range to be found.

    A layer that only some images reach may go without: the heads of detectors run on what was
    proposed or detected. It is refused rather than left in float: the bits that the plan, the results
    and the checkpoint state would not be those of the images that do reach it.

    Args:
        plan: Whose sites.
        unseen: Names of the sites at which no image was seen.

    Raises:
        CalibrationDataError: There is one; names the layers, the reason and the remedy.
    """
    sites = set(unseen)
    if not sites:
        return
    # Whoever shares the site would own it once its owner is left in float.
    readers = [layer.name for layer in plan.layers if not sites.isdisjoint(layer.inputs)]
    patterns = _patterns(readers, [layer.name for layer in plan.layers])
    overrides = ", ".join(f"dict(pattern={pattern!r}, act=None)" for pattern in patterns)
    raise CalibrationDataError(
        f"none of the calibration images reaches {len(readers)} layers, first {readers[0]!r}: "
        "nothing was proposed or detected on them, so there is no range for what these layers "
        "read; calibrate on more images (calib_cfg.num_images), lower score_thr in model.test_cfg, "
        f"or leave their inputs in float: qconfig.overrides=[{overrides}]"
    )


def read_by(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The tensor that a layer reads, by position or by name."""
    values = itertools.chain(args, kwargs.values())
    return next((value for value in values if isinstance(value, Tensor)), None)


def _patterns(names: list[str], everything: list[str]) -> list[str]:
    """The fewest name patterns that pick ``names`` alone."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        parents = [".".join(parts[:i]) + "." for i in range(1, len(parts))]
        whole = (p for p in parents if all(n in names for n in everything if n.startswith(p)))
        parent = next(whole, None)
        found[f"{parent}*" if parent else name] = None
    return list(found)
