"""Keep what the demo and the smoke tests gave in this environment, and print all that is kept.

python benchmarks/versions.py work_dirs/demo smoke.xml --stack onedl      # noxfile.py does this
python benchmarks/versions.py --print-only
"""

import datetime
import json
import platform
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from arguments import add_cells, new_parser
from cells import Cells
from markdown_table import table
from packaging.version import Version

PACKAGES = ("python", "torch", "numpy", "mmengine", "mmcv", "mmdet")


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("demo", nargs="?", type=Path, help="the demo's work dir")
    parser.add_argument("junit", nargs="?", type=Path, help="pytest's report of the smoke tests")
    parser.add_argument("--stack", choices=("upstream", "onedl"), default="upstream")
    add_cells(parser, "versions")
    args = parser.parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        if args.junit is None:
            parser.error("name the demo's work dir and the smoke tests' report")
        cell = {"stack": args.stack, **of_demo(args.demo), **counts(args.junit)}
        cells.put("{stack}/{python}/{torch}".format(**cell), cell)
    print(markdown(cells.values))


def of_demo(work_dir: Path) -> dict[str, Any]:
    """The versions that made the demo's results, and its mAP in percent, float and quantized."""
    results = json.loads((work_dir / "results.json").read_text())
    versions = results["environment"]
    accuracy = {f"W{row['w_bits']}A{row['a_bits']}": row["bbox_mAP"] for row in results["rows"]}
    return {
        **{name: versions[name] for name in PACKAGES},
        **{bits: round(100 * value, 1) for bits, value in accuracy.items()},
        "machine": platform.machine(),
        "date": f"{datetime.date.today()}",
    }


def counts(junit: Path) -> dict[str, int]:
    """Passed, failed and skipped tests."""
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    return {
        "passed": int(suite.get("tests", 0)) - failed - skipped,
        "failed": failed,
        "skipped": skipped,
    }


def markdown(cells: dict[str, dict[str, Any]]) -> str:
    """The Markdown of all that is kept."""
    columns = ("stack", *PACKAGES, "demo, float and W4A4", "smoke tests")
    rows = []
    for cell in sorted(cells.values(), key=_order):
        tests = f"{cell['passed']} passed, {cell['skipped']} skipped"
        if cell["failed"]:
            tests += f", **{cell['failed']} failed**"
        versions = (cell[name] for name in PACKAGES)
        rows.append([cell["stack"], *versions, f"{cell['W32A32']}, {cell['W4A4']} mAP", tests])
    return table(columns, rows)


def _order(cell: dict[str, Any]) -> tuple[Any, ...]:
    return (cell["stack"] != "upstream", Version(cell["python"]), Version(cell["torch"]))


if __name__ == "__main__":
    main()
