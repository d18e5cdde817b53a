"""What each module of a model multiplies, as torch's operators tell it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

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
    counter = FlopCounterMode(display=False, custom_mapping=_MORE_FORMULAS)
    calls = [_Call(0)]

    def enter(*_: Any) -> None:
        calls.append(_Call(counter.get_total_flops()))

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            call = calls.pop()
            total = counter.get_total_flops() - call.before
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
    record("", model, (), None, (counter.get_total_flops() - calls[0].inner) // 2)


def _addmm(bias: Any, a: Any, b: Any, **_: Any) -> int:
    return 2 * a[0] * a[1] * b[1]


def _attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


# What torch's counter lacks: the form in place, by which mmcv's operators compute, and the CPU's
# attention.
_aten: Any = torch.ops.aten
_MORE_FORMULAS = {
    _aten.addmm_: _addmm,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}
