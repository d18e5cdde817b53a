"""A table of measured cells that grows run by run: what its file holds is not measured again."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmptq.fileio import atomic_write

Cell = dict[str, Any]


class Cells:
    """Figures by cell name, in a JSON file that is rewritten after every new cell.

    Several processes may add to one file.

    Args:
        path: The file; missing means empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Cell] = read_json(path)

    def measure(self, name: str, compute: Callable[[], Cell]) -> Cell:
        """The cell called ``name``, computed and saved if it is not there."""
        if name not in self.values:
            self.put(name, compute())
        return self.values[name]

    def put(self, name: str, cell: Cell) -> None:
        """Save a cell, in place of the one that may be there."""
        # Read again: another process may have added cells meanwhile.
        self.values = {**read_json(self.path), name: cell}
        write_json(self.path, self.values, sort_keys=True)


def read_json(path: Path) -> dict[str, Any]:
    """What a file holds; missing means empty."""
    return json.loads(path.read_text()) if path.exists() else {}


def write_json(path: Path, values: Mapping[str, Any], **form: Any) -> None:
    """Write a file whole or not at all.

    Args:
        path: Of the file.
        values: What it holds from now on.
        form: Of ``json.dumps``, beside the indent.
    """
    with atomic_write(path) as file:
        file.write((json.dumps(values, indent=1, **form) + "\n").encode())
