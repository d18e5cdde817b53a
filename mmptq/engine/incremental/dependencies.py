"""Dependencies between tensors that autograd does not write down."""

from collections import defaultdict
from collections.abc import Container
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from mmptq.models.trace import flatten_tensors


class HiddenReads(TorchFunctionMode):
    """Notes what is read through detached tensors, indices and ``no_grad``.

    Decoders detach their reference points, queries are chosen by the order of scores, regions are
    refined without gradients: what comes after depends on them all the same.

    Attributes:
        found: For an autograd node, the nodes that it reads in such a way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Any, set[Any]] = defaultdict(set)
        # Behind each tensor without a node: the nodes that it was computed from.
        self._behind: dict[int, frozenset[Any]] = {}
        self._alive: list[Tensor] = []  # an id is reused when its tensor is gone

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # By now: what writes to a tensor gives it another node.
        before = {t.grad_fn for t in flatten_tensors((args, kwargs))}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor | tuple | list):
            self.link((args, kwargs), result, before)
        elif result is None and args:  # it writes to its first argument
            self.link((args, kwargs), args[0], before)
        return result

    def link(self, read: Any, written: Any, passed_on: Container[Any] = ()) -> None:
        """Note that the tensors ``written`` were computed from the tensors ``read``.

        Args:
            read: In nested tuples, lists and dicts.
            written: Likewise.
            passed_on: Nodes of tensors that, if they are written, were only passed on.
        """
        sources = list(flatten_tensors(read))
        hidden = frozenset[Any]().union(*(self._behind.get(id(t), ()) for t in sources))
        nodes = frozenset(t.grad_fn for t in sources if t.grad_fn is not None)
        for tensor in flatten_tensors(written):
            if tensor.grad_fn is not None:
                if hidden and tensor.grad_fn not in passed_on:
                    self.found[tensor.grad_fn] |= hidden
            elif hidden or nodes:
                self._behind[id(tensor)] = hidden | nodes | self._behind.get(id(tensor), hidden)
                self._alive.append(tensor)
