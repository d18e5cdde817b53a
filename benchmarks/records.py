"""Tables that no benchmark keeps cells of: their figures, and where they come from.

results/recorded.json holds them; docs_tables.py writes them into the pages. A benchmark's record is
measured anew by its own commands, a new one by the command behind its name; what it keeps is the
last Markdown table that each of them prints, with date, commit and machine. Records with "by_hand"
are of commands that print other columns: who measures them anew writes them there.

  python benchmarks/records.py forward_speed
  python benchmarks/records.py my_table python benchmarks/observer_speed.py --threads 1
"""

import argparse
import datetime
import functools
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arguments import ROOT, new_parser, run
from cells import read_json, write_json
from markdown_table import table

from mmptq.errors import MmptqError

RECORDED = ROOT / "benchmarks/results/recorded.json"


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("name", help="of the record")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="of a new record")
    parser.add_argument("--json", type=Path, default=RECORDED, help="file of the records")
    args = parser.parse_args()
    commands = [shlex.join(args.command)] if args.command else known_commands(args.json, args.name)
    tables = [last_table(printed(command), command) for command in commands]
    if any(table[0] != tables[0][0] for table in tables):
        raise MmptqError(f"{args.name}: its commands print tables of different columns")
    rows = [row for table in tables for row in table[1:]]
    save(args.json, args.name, commands, columns=tables[0][0], rows=rows)


@functools.cache
def records() -> dict[str, dict[str, Any]]:
    """Those that the docs show, by name."""
    return json.loads(RECORDED.read_text())


def known_commands(path: Path, name: str) -> list[str]:
    """By which a record was measured.

    Raises:
        MmptqError: There is no such record, or it was put together by hand.
    """
    records = json.loads(path.read_text())
    if name not in records:
        raise MmptqError(f"{name}: {path} has no such record; give its command behind the name")
    if records[name].get("by_hand"):
        raise MmptqError(f"{name} was put together by hand, of {records[name]['commands'][0]}")
    return records[name]["commands"]


def printed(command: str) -> str:
    """What a command prints; it is shown, too, as far as it goes to stderr.

    Raises:
        MmptqError: It ends with an error.
    """
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=environment
    )
    if done.returncode:
        raise MmptqError(f"{command}: ended with {done.returncode}; nothing is recorded")
    return done.stdout


def last_table(text: str, command: str) -> list[list[str]]:
    """Cells of the last Markdown table in a text, its headings first.

    Raises:
        MmptqError: It has none.
    """
    blocks = re.findall(r"(?:^ *\|.*\|[ ]*\n){3,}", text, re.MULTILINE)
    if not blocks:
        raise MmptqError(f"{command}: prints no Markdown table; nothing is recorded")
    head, _, *rows = blocks[-1].splitlines()
    cells = [re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in (head, *rows)]
    return [[cell.strip() for cell in line] for line in cells]


def save(path: Path, name: str, commands: Sequence[str], **figures: Any) -> None:
    """Keep a record: ``columns`` and ``rows``, or ``cells`` by name."""
    record = {"commands": list(commands), **origin(), **figures}
    write_json(path, {**read_json(path), name: record}, ensure_ascii=False)


def add_cells(path: Path, name: str, command: str, cells: dict[str, Any]) -> None:
    """Keep figures by name in a record, beside those that it has of other commands."""
    old = read_json(path).get(name, {})
    commands = dict.fromkeys([*old.get("commands", []), command])
    save(path, name, list(commands), cells=old.get("cells", {}) | cells)


def origin() -> dict[str, str]:
    """Date, commit and machine of what is measured now."""
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip() or "not known",
        "machine": f"{os.cpu_count()} cores, {processor()}",
    }


def processor() -> str:
    """Its model, as the kernel names it (Linux)."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", path.read_text()) if path.exists() else None
    return found[1] if found else platform.machine()


def markdown(record: dict[str, Any]) -> str:
    """A record's rows, and where they come from."""
    rows = table(record["columns"], record["rows"])
    return f"{rows}\n\nRecorded {record['date']} ({record['commit']}).\n"


if __name__ == "__main__":
    run(main)
