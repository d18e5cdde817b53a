"""Loading float weights, checked against the model before any work is done."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmptq.engine.data.checkpoint_reader import Inert, read_checkpoint
from mmptq.engine.data.weight_tree import WeightTree, find_branch, state_of
from mmptq.errors import CheckpointError
from mmptq.models import PACKED_KEY, PLAN_KEY, QuantModel


def load_float_checkpoint(model: QuantModel, path: str, key: str | None = None) -> None:
    """Load float weights into ``model``; float16 tensors are widened.

    Args:
        model: Not prepared; stays as it is where an error is raised.
        path: File or URL, in any scheme that MMEngine knows.
        key: Where in the file the weights are, if several of its state dicts fit.

    Raises:
        CheckpointError: Not readable, quantized, or of another model (names the first tensors that
            differ).
    """
    try:
        tree = _read_tree(path)
    except CheckpointError as error:
        raise CheckpointError(f"the float weights (--checkpoint or load_from): {error}") from error
    if _quantized_branch(tree):
        raise CheckpointError(
            f"{path} is a quantized checkpoint; the float one that it was made from belongs here "
            "(tools/test.py evaluates quantized checkpoints)"
        )
    _load_float(model, tree, path, key)


def is_quantized(path: str) -> bool:
    """Whether a checkpoint is one of a quantized model, packed or not.

    Raises:
        CheckpointError: Not readable.
    """
    return _quantized_branch(_read_tree(path)) is not None


def load_checkpoint(model: QuantModel, path: str, key: str | None = None) -> None:
    """Load a quantized checkpoint (packed or not), which checks itself, or a float one.

    Raises:
        CheckpointError: Not readable, damaged, or of another model.
    """
    tree = _read_tree(path)
    quantized = _quantized_branch(tree)
    if quantized is None:
        _load_float(model, tree, path, key)
        return
    try:
        model.load_state_dict(state_of(quantized, WeightTree(), ""), strict=False)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def learned_names(model: nn.Module) -> set[str]:
    """Names of the floating tensors that only a checkpoint can give: weights and norms' statistics.

    The other buffers are constants that the model builds itself, or counters.
    """
    learned: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    for prefix, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _NormBase):
            learned.update(module.named_buffers(prefix, recurse=False))
    return {name for name, tensor in learned.items() if tensor.is_floating_point()}


def _read_tree(path: str) -> WeightTree:
    content = read_checkpoint(path)
    if isinstance(content, Inert):
        raise _no_state_dict(path, f"is a whole pickled object ({content.origin})")
    tree = WeightTree.of(content) if isinstance(content, Mapping) else WeightTree()
    if not tree.tensors():
        inert = [node for node in tree.walk() if isinstance(node.other, Inert)]
        what = f", {inert[0].path!r} is a pickled {inert[0].other.origin}" if inert else ""
        raise _no_state_dict(path, f"holds no state dict of tensors{what}")
    return tree


def _no_state_dict(path: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path} {found}; where the model can be built, save its weights by "
        "torch.save(model.state_dict(), ...)"
    )


def _quantized_branch(tree: WeightTree) -> WeightTree | None:
    keys = {PLAN_KEY, PACKED_KEY}
    return next((node for node in tree.walk() if not keys.isdisjoint(node.children)), None)


def _load_float(model: QuantModel, tree: WeightTree, path: str, key: str | None) -> None:
    own = WeightTree.of(model.model.state_dict())
    prefix = ""
    try:
        branch = find_branch(tree, own, key)
        # A model that only holds another one (ModuleClassifier) takes its plain state dict.
        if len(own.children) == 1 and own.children.keys().isdisjoint(branch.children):
            prefix, own = next(iter(own.children.items()))
            branch = find_branch(tree, own, key)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    _load_or_restore(model.model, branch, state_of(branch, own, prefix), path)


def _load_or_restore(
    model: nn.Module, branch: WeightTree, state: "OrderedDict[str, Tensor]", path: str
) -> None:
    """Let the model load by its own hooks, which rename what older versions called otherwise.

    Raises:
        CheckpointError: Something is missing or has another shape; the model is as it was.
    """
    own = model.state_dict()
    before = {name: tensor.clone() for name, tensor in own.items() if isinstance(tensor, Tensor)}
    place = f"{path} ({branch.path!r})" if branch.path else path
    try:
        try:
            missing, unexpected = model.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise _misfit(own, state, place, error) from error
        learned = learned_names(model)
        missing = [name for name in missing if name in learned]
        if missing:
            raise _lacking(missing, own, state, branch, place)
    except CheckpointError:
        with torch.no_grad():
            for name, tensor in before.items():
                own[name].copy_(tensor)
        raise
    message = f"float weights: {len(own)} tensors from {place}"
    if unexpected:
        message += f"; the model has no use for {len(unexpected)}, first {unexpected[0]!r}"
    print_log(message, logger="current")


def _misfit(
    own: Mapping[str, Any], state: Mapping[str, Tensor], place: str, error: RuntimeError
) -> CheckpointError:
    """What does not fit, by shape if the shapes tell."""
    for name, tensor in own.items():
        if name in state and state[name].shape != tensor.shape:
            return CheckpointError(
                f"{place} is of another model: {name} has shape {tuple(state[name].shape)} there "
                f"and {tuple(tensor.shape)} in the model; check num_classes and channels"
            )
    reason = [line.strip() for line in str(error).splitlines()][-1]
    return CheckpointError(f"{place} does not load into the model: {reason}")


def _lacking(
    missing: list[str],
    own: Mapping[str, Any],
    state: Mapping[str, Tensor],
    branch: WeightTree,
    place: str,
) -> CheckpointError:
    node = branch.get(missing[0])
    if node is not None and node.other is not None:
        origin = getattr(node.other, "origin", type(node.other).__name__)
        return CheckpointError(
            f"{place}: {missing[0]!r} is no tensor there but a {origin}, like "
            f"{len(missing) - 1} others that the model needs; save tensors (torch.as_tensor)"
        )
    stranger = state.keys().isdisjoint(own) and next(iter(state), None)
    instead = f", and has {stranger!r}" if stranger else ""
    return CheckpointError(
        f"{place} is of another model: it lacks {len(missing)} of {len(own)} tensors, first "
        f"{missing[0]!r}{instead}; check that checkpoint and config belong together"
    )
