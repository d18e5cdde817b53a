"""Whether results can be written."""

import os
from pathlib import Path

from mmptq.errors import ConfigError


def check_writable(work_dir: str) -> None:
    """Fail now if results could not be written later.

    Raises:
        ConfigError: The folder cannot be made or written.
    """
    try:
        os.makedirs(work_dir, exist_ok=True)
        probe = Path(work_dir) / f".writable{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"work_dir = {work_dir!r} cannot be written ({error})") from error
