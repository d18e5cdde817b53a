"""A function whose values are never computed twice, not even by a run that starts again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmptq.engine.storage.search_log import Point, SearchLog


class Measured:
    """``compute`` with a log of all its values.

    Args:
        path: The log (:class:`~mmptq.engine.storage.search_log.SearchLog`); values that it holds
            are not computed.
        header: What the values depend on beside the point.
        compute: From a point to its value.
    """

    def __init__(
        self, path: str | Path, header: Mapping[str, Any], compute: Callable[[Point], float]
    ) -> None:
        self._log = SearchLog(path, header)
        self._compute = compute
        self.computed = 0

    def __call__(self, point: Sequence[float]) -> float:
        """The value at ``point``."""
        key = tuple(float(x) for x in point)
        if key not in self._log.values:
            self._log.add(key, float(self._compute(key)))
            self.computed += 1
        return self._log.values[key]

    def close(self) -> None:
        """Close the log."""
        self._log.close()
