"""What a run left behind as JSON, which may be damaged, edited, or somebody else's."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmptq.errors import MmptqError


def read_json(path: Path) -> Any:
    """The content of a file.

    Raises:
        MmptqError: It cannot be read, or is no JSON; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MmptqError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MmptqError(f"{path} is not JSON: {error}; remove it, or repeat the run") from error


def dict_of(value: Any, where: str) -> dict[str, Any]:
    """``value``, which must be an object.

    Raises:
        MmptqError: It is none; ``where`` says what it is.
    """
    if not isinstance(value, dict):
        raise MmptqError(f"{where} is a {type(value).__name__}: must be an object; repeat the run")
    return value


def dicts_of(value: Any, where: str) -> list[dict[str, Any]]:
    """``value``, which must be a list of objects.

    Raises:
        MmptqError: It is none; ``where`` says what it is.
    """
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise MmptqError(f"{where} must be a list of objects; repeat the run")
    return value


def number(values: Mapping[str, Any], key: str) -> float:
    """A number of an object; NaN where there is none."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # JSON's integers know no bounds
        return math.inf if value > 0 else -math.inf


def text(values: Mapping[str, Any], key: str) -> str:
    """A text of an object; empty where there is none."""
    value = values.get(key)
    return value if isinstance(value, str) else ""


def count(values: Mapping[str, Any], key: str) -> int:
    """A whole number of an object; 0 where there is none."""
    value = number(values, key)
    return int(value) if 0 <= value < 2**63 else 0


def numbers(values: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """The numbers in a list of an object."""
    found = values.get(key)
    listed = found if isinstance(found, list) else []
    return tuple(x for x in (number({key: item}, key) for item in listed) if math.isfinite(x))


def texts(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts in a list of an object."""
    found = values.get(key)
    return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()
