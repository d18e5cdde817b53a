"""A log of every evaluation of a search, from which a killed search goes on."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from mmengine.dist import broadcast_object_list, is_main_process

from mmptq.errors import MmptqError
from mmptq.fileio import save_text

Point = tuple[float, ...]


class SearchLog:
    """JSON lines: a header for each search, then one line an evaluation.

    A search that is started again with the header of the file's last search finds that one's values
    in :attr:`values`, and its time in :attr:`seconds`. Numbers are written so that they read back
    bit by bit; so a deterministic search that looks its values up here first takes the same course
    as the first time.

    Args:
        path: The file; made if missing.
        header: What the values depend on, in JSON's types.

    Raises:
        MmptqError: The file cannot be read or written.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.values: dict[Point, float] = {}
        self._file: IO[str] | None = None
        self._started, self._before = time.monotonic(), 0.0
        if is_main_process():
            try:
                self._open(json.loads(json.dumps(header)))
            except OSError as error:
                raise MmptqError(f"cannot write the search log {path}: {error}") from error
        shared = [self.values]
        broadcast_object_list(shared)
        self.values = shared[0]

    @property
    def seconds(self) -> float:
        """How long the search has taken, in all of its runs."""
        return self._before + time.monotonic() - self._started

    def add(self, point: Sequence[float], loss: float, **more: Any) -> None:
        """Write one evaluation down, safe from a crash of this process."""
        self.values[tuple(point)] = loss
        seconds = round(self.seconds, 3)
        self._write({"point": list(point), "loss": loss, **more, "seconds": seconds})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, header: dict[str, Any]) -> None:
        lines = read_search_log(self.path) if self.path.exists() else []
        starts = [i for i, line in enumerate(lines) if "search" in line]
        if starts and lines[starts[-1]]["search"] == header:
            for line in lines[starts[-1] + 1 :]:
                self.values[tuple(line["point"])] = line["loss"]
                self._before = line["seconds"]
        else:
            lines.append({"search": header})
        # Rewritten, since its last line may be half of one.
        save_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        self._file = open(self.path, "a")  # noqa: SIM115 - stays open

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


def read_search_log(path: str | Path) -> list[dict[str, Any]]:
    """All whole lines of a log."""
    lines = []
    for text in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:  # cut short by a crash
            break
    return lines
