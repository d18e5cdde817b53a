"""The tables of the docs, written between their markers from benchmarks/results/.

A page has its prose, and a pair of markers where a table stands:

  <!-- table: NAME -->
  <!-- end -->

NAME is one of COMMANDS, a benchmark that prints its cells, or of results/recorded.json: figures
whose benchmark keeps no cells, as they were once measured, with command, date and commit.
docs/leaderboard.md and .csv are written whole, of the runs of project_runs.py.

  python benchmarks/docs_tables.py            # after new cells
  python benchmarks/docs_tables.py --check    # fails where a page differs from the cells
"""

import functools
import io
import json
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from arguments import ROOT, new_parser
from project_runs import project_runs

from mmptq.errors import MmptqError
from mmptq.fileio import atomic_write
from mmptq.leaderboard import make_boards, to_csv, to_markdown
from mmptq.leaderboard.runs import Run

BENCHMARKS = ROOT / "benchmarks"
RECORDED = BENCHMARKS / "results/recorded.json"
BOARD = ROOT / "docs/leaderboard.md"
COMMANDS = {
    "bccd_observers": "bccd_observers.py",
    "default_recipe": "default_recipe.py --observers mmse minmax "
    "--variants channels channels+bias channels+gptq",
    "bccd_reconstruction": "reconstruction/bccd.py --no-trials",
    "resnet20_reconstruction": "classification/reconstruction.py --models resnet20",
    "resnet56_reconstruction": "classification/reconstruction.py --models resnet56 --iters 250",
}
BLOCK = re.compile(r"(<!-- table: (.+?) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    args = parser.parse_args()
    wanted = {**leaderboard(), **pages()}
    stale = [page for page, text in wanted.items() if not page.exists() or page.read_text() != text]
    names = "\n".join(str(page.relative_to(ROOT)) for page in stale)
    if args.check and stale:
        raise MmptqError(f"run python benchmarks/docs_tables.py, these are stale:\n{names}")
    for page in stale:
        with atomic_write(page) as file:
            file.write(wanted[page].encode())
    print(names or "every table is up to date")


def pages() -> dict[Path, str]:
    """The text that each page with prose should have."""
    found = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    return {page: refreshed(page.read_text(), page, table) for page in found if page != BOARD}


def leaderboard() -> dict[Path, str]:
    """The project's cells as Markdown and CSV."""
    boards = make_boards(
        [
            Run(Path(f"benchmarks/results/{name}.json#{label}"), results, results.test)
            for name, label, results in project_runs()
        ]
    )
    return {
        BOARD: to_markdown(boards, "The project's own results"),
        BOARD.with_suffix(".csv"): to_csv(boards),
    }


def refreshed(text: str, page: Path, make: Callable[[str], str]) -> str:
    """``text`` with every block's table made anew.

    Raises:
        MmptqError: A marker lacks its partner, or a table has no such name.
    """
    blocks = list(BLOCK.finditer(text))
    nested = any("<!-- table:" in block[3] for block in blocks)
    starts, ends = text.count("<!-- table:"), text.count("<!-- end -->")
    if nested or not starts == ends == len(blocks):
        raise MmptqError(
            f"{page}: {starts} markers <!-- table: NAME --> and {ends} <!-- end -->: "
            "write one of each around every table, each on a line of its own"
        )
    return BLOCK.sub(lambda found: found[1] + "\n" + make(found[2]) + "\n" + found[4], text)


@functools.cache
def table(name: str) -> str:
    """The Markdown of the table ``name``."""
    if name in COMMANDS:
        script, *arguments = COMMANDS[name].split()
        return printed(script, [*arguments, "--print-only"])
    records = json.loads(RECORDED.read_text())
    if name not in records:
        known = ", ".join([*COMMANDS, *records])
        raise MmptqError(f"<!-- table: {name} -->: no such table; there are {known}")
    return recorded(records[name])


def printed(script: str, arguments: Sequence[str]) -> str:
    """What a benchmark prints; in this process, since every new one imports torch again."""
    path = BENCHMARKS / script
    output = io.StringIO()
    paths = [str(path.parent), str(BENCHMARKS), *sys.path]
    with (
        patch.object(sys, "argv", [str(path), *arguments]),
        patch.object(sys, "path", paths),
        redirect_stdout(output),
    ):
        runpy.run_path(str(path), run_name="__main__")
    return output.getvalue().strip() + "\n"


def recorded(record: dict[str, Any]) -> str:
    """A record's rows, and where they come from."""
    rows = [record["columns"], ["---"] * len(record["columns"]), *record["rows"]]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    origin = f"Recorded, not measured anew: here since {record['date']} ({record['commit']})."
    return "\n".join([*lines, "", origin]) + "\n"


if __name__ == "__main__":
    try:
        main()
    except MmptqError as error:
        sys.exit(f"error: {error}")
