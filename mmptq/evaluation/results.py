"""Everything that a quantization run found out, in memory and in ``results.json``."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from mmptq.errors import MmptqError
from mmptq.evaluation.environment import environment
from mmptq.evaluation.render import natural_width, render, terminal_width
from mmptq.evaluation.result_table import Section, best_row, build_markdown, build_table
from mmptq.evaluation.row import FLOAT_METHOD, ResultRow
from mmptq.evaluation.schema import SCHEMA, check_results
from mmptq.fileio import save_json


@dataclass
class Results:
    """The rows of all methods, and what they were computed from.

    Args:
        config: Path of the config.
        float_checkpoint: Path or URL of the float weights, ``None`` for random ones.
        environment: See :func:`mmptq.evaluation.environment`.
        calibration: Plain values about the calibration (images, seed, steps, ...).
        rows: The float model's first.
        test: See :func:`mmptq.evaluation.test_set.describe_test_set`; empty in old files.
    """

    config: str
    float_checkpoint: str | None = None
    environment: dict[str, Any] = field(default_factory=environment)
    calibration: dict[str, Any] = field(default_factory=dict)
    rows: list[ResultRow] = field(default_factory=list)
    test: dict[str, Any] = field(default_factory=dict)

    @property
    def float_row(self) -> ResultRow | None:
        """The float model's row."""
        return next((row for row in self.rows if row.is_float), None)

    @property
    def best(self) -> ResultRow | None:
        """The quantized row with the best main metric."""
        index = best_row(self.rows)
        return None if index is None else self.rows[index]

    def add(self, row: ResultRow) -> None:
        """Append ``row``; the float row goes first, and a row of the same method is replaced."""
        self.rows = [r for r in self.rows if r.method != row.method]
        self.rows.insert(0 if row.method == FLOAT_METHOD else len(self.rows), row)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in the form of ``results.json``."""
        test = {"test": self.test} if self.test else {}
        return {
            "schema": SCHEMA,
            "config": self.config,
            "float_checkpoint": self.float_checkpoint,
            "environment": self.environment,
            "calibration": self.calibration,
            **test,
            "rows": [row.to_dict() for row in self.rows],
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write ``results.json``, whole or not at all.

        Raises:
            MmptqError: The file cannot be written; the message names it.
        """
        save_json(path, self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> "Results":
        """Read what :meth:`to_json` wrote, in this version or an older one.

        Raises:
            MmptqError: The file is missing, no JSON, or of another form; names the key, its value
                and what would be right.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise MmptqError(f"cannot read the results {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise MmptqError(f"{path} is not JSON: {error}") from error
        data = check_results(data, path)
        data.pop("schema", None)
        return cls(rows=[ResultRow.from_dict(row) for row in data.pop("rows")], **data)

    def table(self, section: Section = "all") -> Table:
        """One row per method: accuracy, difference to float, size, bit operations, time."""
        return build_table(self.rows, section)

    def to_text(self, width: int | None = None, color: bool = False) -> str:
        """The table as text; two tables, accuracy and cost, where one would be too wide."""
        width = terminal_width() if width is None else width
        if natural_width(self.table()) <= width:
            return render(self.table(), width, color)
        parts: tuple[Section, ...] = ("accuracy", "cost")
        return "\n\n".join(render(self.table(part), width, color) for part in parts)

    def to_markdown(self) -> str:
        """The table in GitHub's Markdown."""
        return build_markdown(self.rows)
