"""Whether the float model runs on the user's images at all."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmptq.errors import ConfigError, MmptqError


@contextmanager
def float_model_on(image: str) -> Iterator[None]:
    """Say on which image the model failed, in one line, whatever the reason.

    Args:
        image: Its path.

    Raises:
        ConfigError: What stands inside raised anything.
    """
    try:
        yield
    except MmptqError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the float model fails on {image}: {one_line(error)}; it must run in MMDetection's "
            "own test: check the pipeline, model.data_preprocessor and model.test_cfg"
        ) from error


def one_line(error: BaseException) -> str:
    """Kind and message of an error, without line breaks; its place where it has no message."""
    text = " ".join(str(error).split())
    if not text and error.__traceback__ is not None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{last.line} ({Path(last.filename).name}, line {last.lineno})"
    return f"{type(error).__name__}: {text}"
