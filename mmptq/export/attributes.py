"""Attributes that stand in for others for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = object()


@contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """``owner`` has an attribute ``name`` in this context, in place of its own or its class' one.

    Args:
        owner: A Python module, a class or an object. Of an ``nn.Module`` neither submodules nor
            parameters, which it keeps elsewhere.
        name: Of the attribute.
        value: Meanwhile.
    """
    before = vars(owner).get(name, _ABSENT)
    _set(owner, name, value)
    try:
        yield
    finally:
        if before is not _ABSENT:
            _set(owner, name, before)
        elif isinstance(owner, type):
            delattr(owner, name)
        else:
            # Not delattr: an nn.Module looks among its submodules.
            del vars(owner)[name]


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, type):
        setattr(owner, name, value)
    else:
        # Not setattr: an nn.Module would make a submodule of a module.
        vars(owner)[name] = value
