r"""One table of many runs: what every results.json of tools/quantize.py says, side by side.

Runs that differ in the seed alone become one row, with mean and spread. Runs of different test
sets are never in one table. Where runs kept their detections (tools/quantize.py
--keep-detections), mAPs and their differences to the float model have 95 % intervals.

results, in --out:
  leaderboard.html   one file without network: sort, filter, Pareto fronts; prints, works without
                     JavaScript and on a phone
  leaderboard.md     the tables in Markdown
  leaderboard.csv    one line a row, every figure in full

Examples:
  python tools/leaderboard.py work_dirs
  python tools/leaderboard.py work_dirs/mmse work_dirs/gptq/results.json --out board
  python tools/leaderboard.py work_dirs --samples 0    # without intervals, in seconds
"""

import argparse
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from mmengine.logging import print_log
from rich.markup import escape
from rich.progress import track

from mmptq.fileio import save_text
from mmptq.leaderboard import add_intervals, make_boards, read_runs, to_csv, to_html, to_markdown
from mmptq.webpage import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", help="results.json files, or folders searched with all below them"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("work_dirs/leaderboard"), help="folder (%(default)s)"
    )
    parser.add_argument("--title", default="Leaderboard", help="of the page (%(default)s)")
    parser.add_argument(
        "--samples",
        type=int,
        default=1000,
        help="draws of the intervals, 0 for none (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (%(default)s)")


def check(args: argparse.Namespace) -> str | None:
    if args.samples < 0 or args.samples == 1:
        return f"--samples: 0, or at least 2; got {args.samples}"
    if args.seed < 0:
        return f"--seed: 0 or more, got {args.seed}"
    return None


def main(args: argparse.Namespace) -> None:
    boards = make_boards(read_runs(args.runs))
    folder = args.out.resolve()
    # Before the draws, which take their time: this fails where nothing can be written.
    save_text(folder / "leaderboard.csv", to_csv(boards), "--out")
    if args.samples:
        for board in boards:
            add_intervals(board, args.samples, args.seed, progress(board.title))
    save_text(folder / "leaderboard.csv", to_csv(boards), "--out")
    save_text(folder / "leaderboard.md", to_markdown(boards, args.title), "--out")
    save_text(folder / "leaderboard.html", to_html(boards, folder, args.title), "--out")
    for board in boards:
        print_log(f"{visible(board.title)}: {board.num_runs} runs, {len(board.cells)} rows")
        for note in board.notes:
            print_log(f"  {visible(note)}")
    print_log(str(args.out / "leaderboard.html"))


def progress(title: str) -> "partial[Iterable[int]]":
    name = escape(visible(title))
    return partial(track, description=f"drawing, {name}", disable=not sys.stdout.isatty())
