"""Layer norms whose output linear layers alone read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmptq.engine import CalibrationContext, probing
from mmptq.models import QuantModel, has_own_weight, parameter_owners
from mmptq.models.trace import children_of, differentiable, flatten_tensors

# What autograd calls the operations that move tokens and leave the channels of each alone.
_MOVING = frozenset(
    {"Alias", "Clone", "Permute", "Roll", "Squeeze", "Transpose", "UnsafeView", "Unsqueeze", "View"}
)
_PADDING = "ConstantPadNd"  # with zeros, which a shift would have to move, too


class NormGroup(NamedTuple):
    """A layer norm and all that reads its output.

    Args:
        norm: Name of the ``nn.LayerNorm``.
        readers: Names of the linear layers; each reads it in all of its calls.
        padded: Whether zeros are added to its output on the way.
    """

    norm: str
    readers: tuple[str, ...]
    padded: bool


def norm_groups(context: CalibrationContext) -> list[NormGroup]:
    """The groups of a prepared model, in the order of first execution, by one small pass.

    Left out are norms without a factor for each channel, or with other readers; layers that share
    parameters; and layers whose input stays float.
    """
    model = context.model
    with probing(model, context.adapter) as (forward, image), _recording(model) as record:
        with torch.enable_grad(), differentiable(model.model, image) as x:
            outputs = forward(x)
        nodes = [t.grad_fn for t in flatten_tensors(outputs) if t.grad_fn is not None]
        children = children_of(nodes)
    found = []
    for node, norm in record.norms.items():
        group = _group(node, norm, record, children)
        if group is not None and _usable(model, group, record):
            found.append(group)
    return found


class _Record:
    def __init__(self) -> None:
        self.norms: dict[Any, str] = {}  # autograd node of the output -> norm
        self.reads: dict[Any, str] = {}  # autograd node of the input -> layer


@contextmanager
def _recording(model: QuantModel) -> Iterator[_Record]:
    record = _Record()
    handles = [
        layer.register_forward_pre_hook(_on_read(record, name))
        for name, layer in model.quant_layers()
        if layer.weight.dim() == 2
    ]
    for name, module in model.model.named_modules():
        if isinstance(module, nn.LayerNorm):
            handles.append(module.register_forward_hook(_on_norm(record, name)))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _on_read(record: _Record, name: str) -> Callable[..., Any]:
    def hook(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor) or args[0].grad_fn is None:
            return None
        marked = args[0].view_as(args[0])  # a node that nobody else reads
        record.reads[marked.grad_fn] = name
        return (marked, *args[1:])

    return hook


def _on_norm(record: _Record, name: str) -> Callable[..., None]:
    def hook(_: nn.Module, args: Any, output: Tensor) -> None:
        record.norms[output.grad_fn] = name

    return hook


def _group(
    node: Any, norm: str, record: _Record, children: dict[Any, list[Any]]
) -> NormGroup | None:
    readers: list[str] = []
    padded, todo = False, list(children.get(node, ()))
    while todo:
        child = todo.pop()
        if child in record.reads:
            readers.append(record.reads[child])
            continue
        operation = "" if child is None else child.name().partition("Backward")[0]
        if operation not in _MOVING and operation != _PADDING:
            return None
        padded = padded or operation == _PADDING
        todo.extend(children.get(child, ()))
    once = list(record.norms.values()).count(norm) == 1
    names = list(record.reads.values())
    if not once or not readers or any(readers.count(n) != names.count(n) for n in readers):
        return None
    return NormGroup(norm, tuple(sorted(set(readers))), padded)


def _usable(model: QuantModel, group: NormGroup, record: _Record) -> bool:
    assert model.plan is not None
    norm: Any = model.model.get_submodule(group.norm)
    owners = parameter_owners(model.model)
    layers: list[Any] = [model.model.get_submodule(name) for name in group.readers]
    if not norm.elementwise_affine or len(norm.normalized_shape) != 1:
        return False
    own = all(owners[id(p)] == 1 for p in norm.parameters())
    quantized = {layer.name for layer in model.plan.layers if all(layer.inputs)}
    fits = all(layer.weight.shape[1] == norm.normalized_shape[0] for layer in layers)
    alone = all(has_own_weight(layer, owners) for layer in layers)
    return own and alone and fits and quantized.issuperset(group.readers)
