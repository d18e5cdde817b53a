"""Which images a result was measured on, so that results of other images are not mixed with it."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def describe_test_set(dataset: Any) -> dict[str, Any]:
    """What tells one test set from another, as plain values.

    Args:
        dataset: A built data set; those that it wraps or concatenates are looked into.

    Returns:
        ``dataset`` (types), ``annotations`` (files; folders where there are none), ``sha256`` of
        these files (``None`` where one cannot be read) and ``images``, their number.
    """
    parts = list(_parts(dataset))
    sources = (getattr(p, "ann_file", None) or getattr(p, "data_root", None) for p in parts)
    files = list(dict.fromkeys(str(source) for source in sources if source))
    return {
        "dataset": "+".join(dict.fromkeys(type(part).__name__ for part in parts)),
        "annotations": files,
        "sha256": digest(files),
        "images": len(dataset),
    }


def digest(files: Sequence[str]) -> str | None:
    """SHA-256 over the contents of ``files``; ``None`` without any, or where one is unreadable."""
    if not files:
        return None
    summed = hashlib.sha256()
    try:
        for file in files:
            summed.update(Path(file).read_bytes())
    except OSError:
        return None
    return summed.hexdigest()


def _parts(dataset: Any) -> Iterator[Any]:
    inner = getattr(dataset, "datasets", None)
    if inner is None and hasattr(dataset, "dataset"):
        inner = [dataset.dataset]
    if inner is None:
        yield dataset
    else:
        for part in inner:
            yield from _parts(part)
