"""Say in one screen which stack is installed, whether it works, and how to mend what does not.

Every package is really used, each in a process of its own, so that one that crashes or is missing
hides no other. Needs nothing but Python's standard library.

    python tools/check_env.py [--json]
"""

import argparse
import json
import os
import sys
from dataclasses import asdict

from env_checks import ROOT, Check, healthy, run_checks

MARKS = {
    "ok": ("ok", "green"),
    "warning": ("look", "yellow"),
    "missing": ("MISSING", "red"),
    "fault": ("FAULT", "red"),
    "blocked": ("waits", "red"),
    "absent": ("-", "dim"),
}


def as_text(checks: list[Check]) -> str:
    """The findings as plain text."""
    width = max(len(check.name) for check in checks)
    return "\n".join(f"{MARKS[c.status][0]:>7}  {c.name:<{width}}  {c.detail}" for c in checks)


def print_report(checks: list[Check]) -> None:
    """The findings, then the fixes in the order in which to run them, then the verdict."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(as_text(checks))
    else:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for check in checks:
            mark, colour = MARKS[check.status]
            table.add_row(Text(mark, colour, justify="right"), check.name, Text(check.detail))
        Console().print(table)
    to_mend = [c for c in checks if c.fix and c.status in ("missing", "fault", "warning")]
    print()
    for check in to_mend:
        print(f"fix {check.name}:  {check.fix}")
    if healthy(checks):
        print("mmptq can run here.")
    else:
        print(f"mmptq cannot run here yet. Run the fixes above in their order (in {ROOT}),")
        print("or let `make install` make a fresh environment.")


def main() -> int:
    """Check, report, and return 1 if something required is broken."""
    parser = argparse.ArgumentParser(description="Say what is installed and mend what is broken.")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    args = parser.parse_args()
    if not args.json and sys.stderr.isatty():
        print("trying every package, which takes some seconds ...", file=sys.stderr)
    stack, checks = run_checks()
    if args.json:
        report = {
            "ok": healthy(checks),
            "stack": stack,
            "python": sys.version.split()[0],
            "executable": sys.executable,
            "platform": f"{sys.platform}, {os.cpu_count()} cores",
            "checks": [asdict(check) for check in checks],
        }
        print(json.dumps(report, indent=2))
    else:
        print_report(checks)
    return 0 if healthy(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
