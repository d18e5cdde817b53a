"""Runs without the lines that they print."""

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without pycocotools' prints and MMEngine's lines."""
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        yield
