"""Runs without the lines that they print."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

from mmptq.runner import CalibrationRunner


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without pycocotools' prints and MMEngine's lines."""
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        yield


def quietly(runner: CalibrationRunner, method: str) -> dict[str, Any]:
    """The metrics of a runner's model, without what their evaluator prints."""
    with quiet():
        metrics = runner.evaluate(method)
    return {key: value for key, value in metrics.items() if isinstance(value, float)}


def untracked(items: Iterable[Any], name: str, total: int | None = None) -> Iterator[Any]:
    """A context's ``track`` that shows nothing."""
    yield from items
