"""What a subclass of a convolution or linear layer computes, found by running it."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from mmptq.modules.layer import QuantLayer
from mmptq.modules.modes import evaluating
from mmptq.modules.sharing import share

# What multiplies by the weight, in each class of layers.
_PRODUCTS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    nn.Linear: F.linear,
}
_SEEDS = (0, 1)  # inputs of an odd and of an even size: padding to whole strides differs


@dataclass(frozen=True)
class _Product:
    """The one product that a layer computed: ``output`` of ``x``."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    output: Tensor


def multiplies_by_own_weight(layer: nn.Module) -> bool:
    """Whether a layer returns the product of its input with its own weight and bias.

    The input may be padded with zeros or with values of the input. Then the layer's own forward may
    be given a quantized input and weight: zero is on every grid, so that it makes no difference
    whether the input is quantized before it is padded.
    """
    if _base_class(layer) is None or "weight" not in layer._parameters:
        return False
    twin: Any = share(type(layer), layer)
    size = twin.out_features if isinstance(layer, nn.Linear) else twin.out_channels
    # Also where there is none: a folded norm leaves one, which must not be ignored.
    twin._parameters["bias"] = nn.Parameter(torch.ones(size).to(twin.weight))
    products = [_watch(twin, seed) for seed in _SEEDS]
    return all(p and p.weight is twin.weight and p.bias is twin.bias for p in products)


@torch.no_grad()
def with_constant_weight(layer: nn.Module) -> nn.Module | None:
    """A layer that multiplies at once by what ``layer`` makes of its parameters first.

    So standardised, normalised and otherwise parametrized weights become plain ones, which is the
    same in evaluation. It has the attribute ``folded_from``, the class name of ``layer``.

    Returns:
        ``None`` where ``layer`` has a plain weight, or one that depends on its input, or computes
        anything else.
    """
    base = _base_class(layer)
    if base is None or isinstance(layer, QuantLayer):
        return None
    products = [p for seed in _SEEDS if (p := _watch(layer, seed))]
    if len(products) < len(_SEEDS) or not _same(products[0].weight, products[1].weight):
        return None
    if products[0].weight is layer._parameters.get("weight"):
        return None
    # A hook or a parametrization sets the weight from outside: then the class itself is plain.
    plain = _plain(base if "weight" in layer._parameters else _own_class(layer), layer)
    for name in ("weight", "bias"):
        value = getattr(products[0], name)
        learns = any(p.requires_grad for p in layer.parameters())
        parameter = None if value is None else nn.Parameter(value.detach().clone(), learns)
        plain.register_parameter(name, parameter)
    if not all(_same(plain(p.x), p.output) for p in products):
        return None
    plain.folded_from = type(layer).__name__
    return plain


def class_name(module: nn.Module) -> str:
    """Name of the class of which ``module`` was built."""
    return getattr(module, "folded_from", type(module).__name__)


def _base_class(layer: nn.Module) -> type[nn.Module] | None:
    return next((base for base in _PRODUCTS if isinstance(layer, base)), None)


def _own_class(layer: nn.Module) -> type[nn.Module]:
    return type(layer).__bases__[0] if parametrize.is_parametrized(layer) else type(layer)


def _plain(cls: type[nn.Module], layer: nn.Module) -> Any:
    """``layer`` as a ``cls``, without weight and bias and what they were made of."""
    plain = share(cls, layer)
    for held in (vars(plain), plain._parameters, plain._buffers, plain._modules):
        for name in list(held):
            if name in ("weight", "bias", "parametrizations") or name.startswith("weight_"):
                del held[name]
    return plain


def _watch(layer: nn.Module, seed: int) -> _Product | None:
    """Run a layer in eval mode on random input and see what it multiplies.

    Returns:
        ``None`` if its output is no single product of its input, perhaps padded.
    """
    base = _base_class(layer)
    assert base is not None
    watch = _Watch(_PRODUCTS[base])
    try:
        x = _random_input(layer, seed)
        with torch.no_grad(), evaluating(layer), watch:
            output = layer(x.clone())
    except Exception:  # a stranger's code, which may want other arguments or sizes
        return None
    if len(watch.calls) != 1:
        return None
    read, weight, bias, written = watch.calls[0]
    return _Product(x, weight, bias, output) if output is written and _padded(read, x) else None


def _random_input(layer: Any, seed: int) -> Tensor:
    if isinstance(layer, nn.Linear):
        shape: tuple[int, ...] = (2, layer.in_features)
    else:
        reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        shape = (1, layer.in_channels, *(size + 2 + seed for size in reach))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.to(next(p for p in layer.parameters() if p.is_floating_point()))


class _Watch(TorchFunctionMode):
    """Writes down the calls of ``function``: input, weight, bias and output."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.calls: list[tuple[Tensor, Tensor, Tensor | None, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is self.function:
            given = {**dict(zip(("input", "weight", "bias"), args, strict=False)), **kwargs}
            self.calls.append((given["input"], given["weight"], given.get("bias"), output))
        return output


def _padded(read: Tensor, x: Tensor) -> bool:
    """Whether ``read`` is ``x``, or ``x`` in a frame of zeros or of values of its own."""
    if read.shape == x.shape:
        return torch.equal(read, x)
    if read.dim() != x.dim():
        return False
    extra = [a - b for a, b in zip(read.shape, x.shape, strict=True)]
    if min(extra) < 0:
        return False
    frame = ~torch.isin(read, torch.cat((x.flatten(), x.new_zeros(1))))
    if bool(frame.any()):
        return False
    starts = itertools.product(*(range(n + 1) for n in extra))
    return any(torch.equal(_window(read, start, x.shape), x) for start in starts)


def _window(tensor: Tensor, start: tuple[int, ...], shape: torch.Size) -> Tensor:
    return tensor[tuple(slice(i, i + n) for i, n in zip(start, shape, strict=True))]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)
