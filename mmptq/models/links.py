"""Pairs of layers between which a positive factor per channel can move.

Where one layer reads just what another wrote, through operations that commute with a positive
factor for each channel, the first may be divided and the second multiplied by it: the model
computes the same (Nagel et al. 2019, section 4.1).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from mmptq.modules import in_channels, out_channels

# What autograd calls the operations that commute: f(s x) = s f(x) for any s > 0.
_ELEMENTWISE = frozenset({"Relu", "LeakyRelu"})
# These leave every channel to itself where the channels lie before two axes of space.
SPATIAL = frozenset(
    {
        "MaxPool2DWithIndices",
        "AdaptiveMaxPool2D",
        "AvgPool2D",
        "AdaptiveAvgPool2D",
        "UpsampleNearest2D",
        "UpsampleNearestExact2D",
        "UpsampleBilinear2D",
    }
)

# Functions that ask about a tensor and not about its values.
_ABOUT = frozenset(
    {
        "__hash__",
        "__len__",
        "_is_view",
        "data_ptr",
        "dim",
        "get_device",
        "is_contiguous",
        "is_floating_point",
        "new_empty",
        "new_full",
        "new_ones",
        "new_tensor",
        "new_zeros",
        "numel",
        "size",
        "storage_offset",
        "stride",
        "untyped_storage",
    }
)
# Attributes that are the values in another form.
_VALUES = frozenset({"data", "T", "mT", "H", "mH", "real", "imag"})


@dataclass(frozen=True)
class Link:
    """A factor may move from ``before`` to ``after``.

    Args:
        before: Layer whose output channels are divided by the factor.
        after: Layer whose input channels are multiplied by it.
        norm: Batch norm in between, right behind ``before``; the link holds once it is folded.
    """

    before: str
    after: str
    norm: str | None = None


class ReadCounter(TorchFunctionMode):
    """Counts how often the output of each autograd node is read while the mode is on.

    Reading without gradients counts too: post-processing, detached tensors. In doubt it counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Any] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not _reads_values(func):
            return func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        read = [(t, t.grad_fn, t._version) for t in tensors if t.grad_fn is not None]
        result = func(*args, **kwargs)
        # What is returned as it came, by dropout in evaluation, has not been read.
        self.counts.update(
            node for t, node, version in read if t is not result or t._version != version
        )
        return result

    def add(self, readers: Mapping[Any, int]) -> None:
        """Count at least as many readers as autograd knows: it sees extensions of torch, too."""
        self.counts |= Counter(readers)


def _reads_values(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(func.__self__, "__name__", "") in _VALUES
    return name not in _ABOUT


def find_links(
    model: nn.Module,
    reads: Mapping[str, Sequence[Any]],
    written: Mapping[Any, str],
    readers: ReadCounter,
    norms: Mapping[str, str],
) -> list[Link]:
    """All links between the layers of one pass.

    Args:
        model: Holds the layers.
        reads: For each layer, the autograd node of what each of its calls read.
        written: Autograd node of a layer's output -> layer, one for each call.
        readers: Of the whole pass.
        norms: Layer -> the batch norm that alone reads what it wrote.
    """
    owners = parameter_owners(model)
    calls = Counter(written.values())
    links = []
    for after, nodes in reads.items():
        layer: Any = model.get_submodule(after)
        if not has_own_weight(layer, owners):
            continue
        passing = _ELEMENTWISE | SPATIAL if layer.weight.dim() == 4 else _ELEMENTWISE
        sources = {_source(node, written, readers.counts, norms, passing) for node in nodes}
        source = sources.pop()
        # What has one reader was read once: as many calls of both are the same calls.
        if sources or source is None or calls[source[0]] != len(nodes):
            continue
        if _fit(model.get_submodule(source[0]), layer, owners):
            links.append(Link(source[0], after, source[1]))
    return links


def _source(
    node: Any,
    written: Mapping[Any, str],
    readers: Counter[Any],
    norms: Mapping[str, str],
    passing: frozenset[str],
) -> tuple[str, str | None] | None:
    """The layer that wrote what is read at ``node``, and the norm behind it."""
    norm_passed = False
    while node is not None and readers[node] == 1:
        if node in written:
            name = written[node]
            norm = norms.get(name) if norm_passed else None
            return None if norm_passed and norm is None else (name, norm)
        operation = node.name().partition("Backward")[0]
        if norm_passed or not (operation in passing or "BatchNorm" in operation):
            return None
        norm_passed = "BatchNorm" in operation
        node = node.next_functions[0][0]
    return None


def _fit(before: Any, after: Any, owners: Counter[int]) -> bool:
    if before is after or not has_own_weight(before, owners):
        return False
    same_form = before.weight.dim() == after.weight.dim()
    return same_form and out_channels(before) == in_channels(after)


def parameter_owners(model: nn.Module) -> Counter[int]:
    """How many modules hold each parameter, by its id."""
    return Counter(id(p) for m in model.modules() for p in m._parameters.values())


def has_own_weight(layer: nn.Module, owners: Counter[int]) -> bool:
    """Whether a layer has a weight, and parameters that are its own alone."""
    weight = layer._parameters.get("weight")
    own = (p for p in layer._parameters.values() if p is not None)
    return weight is not None and weight.dim() > 1 and all(owners[id(p)] == 1 for p in own)
