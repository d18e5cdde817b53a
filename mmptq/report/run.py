"""A run as its work dir holds it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmptq.errors import MmptqError
from mmptq.evaluation import ResultRow, Results
from mmptq.report.record import RunRecord

RESULTS = "results.json"


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        folder: Its work dir.
        results: What ``results.json`` holds.
        record: What ``run.json`` holds, if it is there.
    """

    folder: Path
    results: Results
    record: RunRecord | None = None

    @property
    def method(self) -> str:
        """Label of the recipe."""
        return str(self.results.calibration.get("method", "")) or self.results.rows[-1].method

    @property
    def row(self) -> ResultRow | None:
        """The recipe's, simulated."""
        found = [row for row in self.results.rows if row.method == self.method]
        return found[0] if found and not found[0].is_float else None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The recipe's steps, their types without a scope."""
        steps = self.results.calibration.get("steps") or []
        return [
            {**step, "type": str(step.get("type", "")).rpartition(".")[2]}
            for step in steps
            if isinstance(step, dict)
        ]

    @property
    def config(self) -> Path | None:
        """The whole config that the run left."""
        name = self.record.config if self.record else Path(self.results.config).name
        path = self.folder / Path(name).name
        return path if path.suffix == ".py" and path.is_file() else None


def read_run(folder: Path) -> Run:
    """Read a work dir.

    Raises:
        MmptqError: There is no run that came to its end, or a file is damaged.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise MmptqError(
            f"no {RESULTS} in {folder}: give a work dir of tools/quantize.py whose run came to its "
            "end"
        )
    results = Results.from_json(path)
    if not results.rows:
        raise MmptqError(f"{path}: rows is empty: repeat the run")
    return Run(folder, results, RunRecord.load(folder))
