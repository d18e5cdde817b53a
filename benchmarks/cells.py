"""A table of measured cells that grows run by run: what its file holds is not measured again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmptq.fileio import atomic_write


class Cells:
    """Figures by cell name, kept in a JSON file that is rewritten after every new cell.

    Args:
        path: The file; missing means empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.values = json.loads(path.read_text())

    def measure(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The cell called ``name``, computed and saved if it is not there."""
        if name not in self.values:
            self.values[name] = compute()
            text = json.dumps(self.values, indent=1, sort_keys=True) + "\n"
            with atomic_write(self.path) as file:
                file.write(text.encode())
        return self.values[name]
