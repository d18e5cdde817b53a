"""The runs that a leaderboard is made of: ``results.json``, and what lies beside it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmptq.errors import MmptqError
from mmptq.evaluation import Results
from mmptq.leaderboard.dumped_config import test_set_of

NAME = "results.json"
_PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        file: Its ``results.json``.
        results: What that holds.
        test: Its test set, as :func:`mmptq.evaluation.test_set.describe_test_set` says it; of an
            older run, what its config says; empty where nothing is known.
        config: The config that it left in its work dir.
        pictures: In ``pictures/``.
        report: The page that it ended with.
    """

    file: Path
    results: Results
    test: dict[str, Any] = field(default_factory=dict)
    config: Path | None = None
    pictures: tuple[Path, ...] = ()
    report: Path | None = None

    @property
    def folder(self) -> Path:
        """The work dir."""
        return self.file.parent


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """Read runs, each once, in the order of their paths.

    Args:
        paths: Files, or folders that are searched with all below them for ``results.json``.

    Raises:
        MmptqError: A path does not exist, nothing is found, or a file is damaged.
    """
    files = list(dict.fromkeys(file for path in paths for file in _find(Path(path))))
    return [_read(file) for file in files]


def _find(path: Path) -> list[Path]:
    if path.is_file():
        return [path.resolve()]
    if not path.is_dir():
        raise MmptqError(f"{path} does not exist: give work dirs of tools/quantize.py")
    found = sorted(file.resolve() for file in path.rglob(NAME) if file.is_file())
    if not found:
        raise MmptqError(
            f"no {NAME} in {path} nor below it: give work dirs of tools/quantize.py that ran to "
            "their end"
        )
    return found


def _read(file: Path) -> Run:
    results = Results.from_json(file)
    if not results.rows:
        raise MmptqError(f"{file}: rows is empty: repeat the run, or leave the file away")
    config = file.parent / Path(results.config).name
    there = config.suffix == ".py" and config.is_file()
    report = file.parent / "report.html"
    return Run(
        file=file,
        results=results,
        test=results.test or (test_set_of(config) if there else {}),
        config=config if there else None,
        pictures=_pictures(file.parent / "pictures"),
        report=report if report.is_file() else None,
    )


def _pictures(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES))
