"""What goes wrong in a hook that draws or tells is no reason to lose a run."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from mmengine.logging import print_log

Step = Callable[..., None]


def harmless(what: str) -> Callable[[Step], Step]:
    """Whatever goes wrong in a hook's step, warn once for all of its steps, and go on.

    Args:
        what: Is lost, such as ``no pictures``; the hook keeps ``failed``.
    """

    def wrapped(step: Step) -> Step:
        @wraps(step)
        def careful(hook: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
            try:
                step(hook, runner, *args, **kwargs)
            except Exception as error:  # noqa: BLE001
                if not hook.failed:
                    warn(what, error)
                hook.failed = True

        return careful

    return wrapped


def warn(what: str, error: Exception) -> None:
    """Say in a line what is lost, and why."""
    reason = " ".join(str(error).split())
    print_log(f"{what}: {type(error).__name__}: {reason}", logger="current", level=logging.WARNING)
