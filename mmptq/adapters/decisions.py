"""What a model decides on the way: regions, assignments, samples. Kept once, given again."""

import copy
import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mmptq.adapters.randomness import RandomState


class Method(NamedTuple):
    """A method that decides something.

    Args:
        key: By which its results are known.
        owner: The object that has it.
        name: Of the attribute.
        copies: Whether callers may write to what it returns.
        passes_on: An argument that is returned in place of what would be computed.
    """

    key: str
    owner: Any
    name: str
    copies: bool = True
    passes_on: str | None = None


class Decisions:
    """Results of methods in a first pass of an image, for all later ones.

    Which regions are looked at and which object an anchor is for jumps when a parameter moves a
    little. Held fixed, equal outputs are compared with each other.
    """

    def __init__(self) -> None:
        # With the random state that they left, where they drew random numbers.
        self._results: dict[str, list[tuple[Any, RandomState | None]]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._closed = False

    def close(self) -> None:
        """From now on nothing is recorded; what was not, is decided anew every time."""
        self._closed = True

    @contextmanager
    def held(self, methods: Iterable[Method], choosing: Iterable[Method] = ()) -> Iterator[None]:
        """In this context, methods return what they returned in the first pass, call by call.

        Args:
            methods: To be held whole.
            choosing: Methods within which ``torch.topk`` chooses the same items; the values, and
                all else that they return, are computed.
        """
        self._counts.clear()
        wrapped = [(m, self._hold) for m in methods] + [(m, self._hold_choices) for m in choosing]
        for method, wrap in wrapped:
            setattr(method.owner, method.name, wrap(method, getattr(method.owner, method.name)))
        try:
            yield
        finally:
            for method, _ in wrapped:
                delattr(method.owner, method.name)

    def next(self, key: str, decide: Callable[[], Any]) -> Any:
        """The result of this call under ``key``: the one recorded, else what ``decide`` gives.

        Either way whoever draws random numbers next gets the same ones.
        """
        index = self._counts[key]
        self._counts[key] += 1
        if index < len(self._results[key]):
            result, left = self._results[key][index]
            if left is not None:
                left.restore()
            return result
        before = RandomState()
        result = decide()
        if not self._closed:
            after = RandomState()
            self._results[key].append((result, None if after == before else after))
        return result

    def _hold(self, method: Method, original: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **kwargs: Any) -> Any:
            if method.passes_on is not None:
                arguments = inspect.signature(original).bind(*args, **kwargs).arguments
                return arguments[method.passes_on]
            result = self.next(method.key, lambda: original(*args, **kwargs))
            return copy.deepcopy(result) if method.copies else result

        return held

    def _hold_choices(self, method: Method, original: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **kwargs: Any) -> Any:
            with _SameTopk(self, method.key):
                return original(*args, **kwargs)

        return held


class _SameTopk(TorchFunctionMode):
    """``torch.topk`` chooses what it chose in the first pass."""

    def __init__(self, decisions: Decisions, key: str) -> None:
        super().__init__()
        self._decisions, self._key = decisions, key

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.topk, Tensor.topk):
            return func(*args, **kwargs)
        dim = kwargs.get("dim", args[2] if len(args) > 2 else -1)
        values = args[0] if args else kwargs["input"]
        indices = self._decisions.next(self._key, lambda: func(*args, **kwargs).indices)
        return torch.return_types.topk((values.gather(dim, indices), indices))
