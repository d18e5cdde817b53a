"""A table of measured cells that grows run by run: what its file holds is not measured again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmptq.fileio import atomic_write


class Cells:
    """Figures by cell name, in a JSON file that is rewritten after every new cell.

    Several processes may add to one file.

    Args:
        path: The file; missing means empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values = self._read()

    def measure(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The cell called ``name``, computed and saved if it is not there."""
        if name not in self.values:
            self.put(name, compute())
        return self.values[name]

    def put(self, name: str, cell: dict[str, Any]) -> None:
        """Save a cell, in place of the one that may be there."""
        # Read again: another process may have added cells meanwhile.
        self.values = {**self._read(), name: cell}
        text = json.dumps(self.values, indent=1, sort_keys=True) + "\n"
        with atomic_write(self.path) as file:
            file.write(text.encode())

    def _read(self) -> dict[str, dict[str, Any]]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}
