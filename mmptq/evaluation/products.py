"""What each module of a model multiplies, as torch's operators tell it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# (name, module, positional arguments, output, MACs of its own)
Record = Callable[[str, nn.Module, tuple[Any, ...], Any, int], None]


@dataclass
class _Call:
    """A module's call in progress."""

    before: int  # operations counted until it began
    inner: int = 0  # operations of the calls inside


@contextmanager
def watching_products(
    model: nn.Module, named: Iterable[tuple[str, nn.Module]], record: Record
) -> Iterator[None]:
    """``record`` each call of the modules ``named`` in this context.

    A call's own multiply-accumulate operations are those of the matrix products and convolutions
    that no module ``named`` inside it computes, whatever function they were called by. What no
    module computes is recorded in the end as the ``model``'s, under the name ``""``.
    """
    counter, calls = _Counter(), [_Call(0)]

    def enter(*_: Any) -> None:
        calls.append(_Call(counter.total))

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            call = calls.pop()
            total = counter.total - call.before
            calls[-1].inner += total
            record(name, module, args, output, (total - call.inner) // 2)

        return hook

    with ExitStack() as stack:
        for name, module in named:
            if module is not model:
                stack.callback(module.register_forward_pre_hook(enter).remove)
                stack.callback(module.register_forward_hook(leave(name)).remove)
        with counter:
            yield
    record("", model, (), None, (counter.total - calls[0].inner) // 2)


class _Counter(TorchDispatchMode):
    """Counts floating-point operations by torch's formulas, two a multiply-accumulate.

    Torch's own counter follows modules, too, by hooks that changes of the gradient mode upset.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=output)
        return output


_aten: Any = torch.ops.aten
# What torch lacks: the form in place, by which mmcv's operators compute, and the CPU's attention.
_FORMULAS: dict[Any, Any] = {
    **flop_registry,
    _aten.addmm_: flop_registry[_aten.addmm],
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        _aten._scaled_dot_product_flash_attention
    ],
}
