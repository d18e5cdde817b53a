"""The rules of a runtime, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A runtime.

    To add one: a file beside this one, listed in ``mmptq/targets/__init__.py``.

    Args:
        name: As on the command line.
        summary: What it executes in integers.
        runtime: Key of :data:`mmptq.runtime.RUNTIMES` in which an export is checked.
        zero_points: Whether activations may have a zero point other than 0.
        unsigned: Whether codes of activations may be unsigned.
        int4: Whether it reads weights that are stored in 4 bits.
    """

    name: str
    summary: str
    runtime: str
    zero_points: bool = True
    unsigned: bool = True
    int4: bool = True
