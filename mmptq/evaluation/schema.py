"""The form of ``results.json``, and its check; documented in ``docs/results_json.md``."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from mmptq.errors import MmptqError

SCHEMA = 1  # files from before it have no such key

REQUIRED = ("config", "float_checkpoint", "environment", "calibration", "rows")
OPTIONAL = ("schema", "test")

_Rule = tuple[Callable[[Any], bool], str]


def check_results(data: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Make sure that ``data`` has the form of ``results.json``.

    Args:
        data: What the file holds, of this or of any older version.
        path: Of the file, for the messages.

    Returns:
        ``data``.

    Raises:
        MmptqError: It has not; names the file, the key, its value and what would be right.
    """
    if not isinstance(data, dict) or not set(REQUIRED) <= set(data):
        found = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise MmptqError(
            f"{path} must hold the keys {', '.join(REQUIRED)}; it holds {found or 'none'}: "
            "give the results.json of a work dir"
        )
    _check_version(data.get("schema", 0), path)
    unknown = sorted(set(data) - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise MmptqError(f"{path}: {unknown[0]}: unknown key; remove it")
    for key, rule in _TOP.items():
        if key in data:
            _check(data[key], rule, f"{path}: {key}")
    for key, rule in _CALIBRATION.items():
        if key in data["calibration"]:
            _check(data["calibration"][key], rule, f"{path}: calibration.{key}")
    for key, rule in _TEST.items():
        if key in data.get("test", {}):
            _check(data["test"][key], rule, f"{path}: test.{key}")
    for index, row in enumerate(data["rows"]):
        _check_row(row, f"{path}: rows[{index}]")
    return data


def _check_version(schema: Any, path: str | os.PathLike[str]) -> None:
    _check(schema, _WHOLE, f"{path}: schema")
    if schema > SCHEMA:
        raise MmptqError(
            f"{path}: schema = {schema}: this mmptq reads up to {SCHEMA}; install the version that "
            "wrote the file, or a newer one"
        )


def _check_row(row: Any, where: str) -> None:
    _check(row, _DICT, where)
    lacking = [key for key in ("method", "scope", "w_bits", "a_bits") if key not in row]
    if lacking:
        raise MmptqError(f"{where} lacks {', '.join(lacking)}: add it, or remove the row")
    for key, value in row.items():
        _check(value, _ROW.get(key, _METRIC), f"{where}.{key}")


def _check(value: Any, rule: _Rule, where: str) -> None:
    fits, wanted = rule
    if not fits(value):
        text = repr(value)
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise MmptqError(f"{where} = {shown}: must be {wanted}; correct it, or repeat the run")


def _is_number(value: Any) -> bool:
    # JSON's integers know no bounds, floats do.
    huge = isinstance(value, int) and abs(value) > 10**300
    return not isinstance(value, bool) and isinstance(value, int | float) and not huge


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_cost(value: Any) -> bool:
    return value is None or (_is_number(value) and math.isfinite(value) and 0 <= value < 1e18)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_bits(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 64


def _is_verdict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and all(_is_text(value.get(key)) for key in ("step", "objective"))
        and _is_whole(value.get("images"))
        and all(key in value and _METRIC[0](value[key]) for key in ("before", "after"))
    )


_DICT: _Rule = (lambda value: isinstance(value, Mapping), "an object")
_LIST: _Rule = (lambda value: isinstance(value, list), "a list")
_TEXT: _Rule = (_is_text, "a string")
_TEXT_OR_NULL: _Rule = (lambda value: value is None or _is_text(value), "a string or null")
_WHOLE: _Rule = (_is_whole, "a whole number of 0 or more")
_COST: _Rule = (_is_cost, "a number of 0 or more, or null")
_METRIC: _Rule = (lambda value: value is None or _is_number(value), "a number or null")
_BITS: _Rule = (_is_bits, "a number of bits, above 0 and up to 64")
_TEXTS: _Rule = (
    lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "a list of strings",
)

_TOP = {
    "config": _TEXT,
    "float_checkpoint": _TEXT_OR_NULL,
    "environment": _DICT,
    "calibration": _DICT,
    "test": _DICT,
    "rows": _LIST,
}
_CALIBRATION: dict[str, _Rule] = {
    "method": _TEXT,
    "seed": _WHOLE,
    "steps": _LIST,
    "qconfig": _DICT,
    "labels": (lambda value: isinstance(value, bool), "true or false"),
    "verdicts": (
        lambda value: isinstance(value, list) and all(map(_is_verdict, value)),
        "a list of objects with step, objective, images, before and after",
    ),
}
_TEST = {
    "dataset": _TEXT,
    "annotations": _TEXTS,
    "sha256": _TEXT_OR_NULL,
    "images": _WHOLE,
}
_ROW: dict[str, _Rule] = {
    "method": _TEXT,
    "scope": _TEXT,
    "runtime": _TEXT_OR_NULL,
    "w_bits": _BITS,
    "a_bits": _BITS,
    "images": (lambda value: value is None or _is_whole(value), "a whole number, or null"),
    **dict.fromkeys(("size_mb", "gbops", "seconds", "mac_share", "ms"), _COST),
}
