"""The figures of the docs, written between and before their markers from benchmarks/results/.

A page has its prose, and a pair of markers where a table stands, indented like what is around it:

  <!-- table: NAME -->
  <!-- end -->

NAME is one of COMMANDS, a benchmark that prints its cells; or of pages/, a choice of cells; or of
results/recorded.json, figures that no benchmark keeps cells of (records.py). A paragraph or an item
of a list that ends with <!-- figures: NAME --> has the numbers of pages/figures.py, in their order.
docs/leaderboard.md and .csv are written whole, of the runs of project_runs.py.

  python benchmarks/docs_tables.py            # after new cells
  python benchmarks/docs_tables.py --check    # fails where a page differs from the cells
"""

import functools
import io
import re
import runpy
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from arguments import ROOT, add_check, new_parser, run
from pages import FIGURES, GRIDS, numbers
from project_runs import project_runs
from records import markdown, records
from refresh import refresh

from mmptq.errors import MmptqError
from mmptq.leaderboard import make_boards, to_csv, to_markdown
from mmptq.leaderboard.runs import Run

BENCHMARKS = ROOT / "benchmarks"
BOARD = ROOT / "docs/leaderboard.md"
COMMANDS = {
    "methods_demo": "methods.py --models demo_retinanet demo_faster_rcnn --markdown",
    "methods_deeppcb": "methods.py --models deeppcb_retinanet deeppcb_faster_rcnn --markdown",
    "methods_yolox": "methods.py --models yolox_nano --columns W8A6 W6A8 W6A6 W4A8 --markdown",
    "methods_vit": "methods.py --models vit_long_digits --columns W8A8 W6A6 W4A4 W3A3 W2A4 W8A3 "
    "--markdown",
    "methods_swin": "methods.py --models demo_retinanet_swin --columns W8A8 W6A6 W4A4 --markdown",
    "methods_dino": "methods.py --models demo_dino --columns W4A4 --against gptq --markdown",
    "detr_parts": "detr_parts.py --columns W4A4",
    "versions": "versions.py",
    "peers": "peers/compare.py mmdet::yolox/yolox_nano_8xb8-300e_coco.py "
    "--checkpoint yolox_nano_coco.pth --data-root data/coco_subset --images 32",
    "scaling": "scaling.py",
    "scaling_model": "scaling.py --model",
}
BLOCK = re.compile(
    r"^(?P<indent> *)<!-- table: (?P<name>.+?) -->\n(?P<old>.*?)^ *<!-- end -->\n",
    re.DOTALL | re.MULTILINE,
)


def main() -> None:
    parser = new_parser(__doc__)
    add_check(parser)
    args = parser.parse_args()
    wanted = {**leaderboard(), **pages()}
    refresh(wanted, ROOT, args.check, "docs_tables.py", "table")


def pages() -> dict[Path, str]:
    """The text that each page with prose should have."""
    found = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    return {
        page: numbers.refreshed(refreshed(page.read_text(), page, table), page, FIGURES)
        for page in found
        if page != BOARD
    }


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
    nested = any("<!-- table:" in block["old"] for block in blocks)
    starts, ends = text.count("<!-- table:"), text.count("<!-- end -->")
    if nested or not starts == ends == len(blocks):
        raise MmptqError(
            f"{page}: {starts} markers <!-- table: NAME --> and {ends} <!-- end -->: "
            "write one of each around every table, each on a line of its own"
        )

    def block(found: "re.Match[str]") -> str:
        lines = f"<!-- table: {found['name']} -->\n\n{make(found['name'])}\n<!-- end -->\n"
        return textwrap.indent(lines, found["indent"])

    return BLOCK.sub(block, text)


@functools.cache
def table(name: str) -> str:
    """The Markdown of the table ``name``."""
    if name in COMMANDS:
        script, *arguments = COMMANDS[name].split()
        return printed(script, [*arguments, "--print-only"])
    if name in GRIDS:
        return GRIDS[name].markdown()
    if name not in records():
        known = ", ".join([*COMMANDS, *GRIDS, *records()])
        raise MmptqError(f"<!-- table: {name} -->: no such table; there are {known}")
    return markdown(records()[name])


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


if __name__ == "__main__":
    run(main)
