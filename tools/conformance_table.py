"""Write the table of supported families from the results of ``make conformance``."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

HEAD = """# Families

What `make conformance` found: each of MMDetection's stock configs, narrowed and with random
weights, through each recipe at its smallest. `tests/conformance/*.yaml` says how a config was
narrowed; `tests/conformance/test_conformance.py` says what a recipe has to show to pass. The share
is that of the multiply-adds with both operands quantized. `export` is the most that becomes one
graph: `detector` is images of any size to boxes, `heads` to the raw outputs; what is `--static`
takes images of one size. EfficientDet has no stock config in
MMDetection's package (it is one of its projects); RetinaNet on EfficientNet stands for its
convolutions. This file is written by `python tools/conformance_table.py`.

"""
PASSED, REFUSED, FAILED = "yes", "refused", "**no**"


@dataclass
class Row:
    """One family.

    Args:
        config: Its stock config.
        outcomes: By recipe.
        mac_share: Of the multiply-adds, ``None`` where it is unknown.
        seconds: Of all recipes together.
    """

    config: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    mac_share: float | None = None
    seconds: float = 0.0


def read_rows(path: Path) -> dict[str, Row]:
    """The families of a JUnit XML file, in its order.

    Raises:
        SystemExit: The file is missing, or holds no results of the conformance test.
    """
    if not path.is_file():
        sys.exit(f"there is no {path}: `make conformance` writes it")
    rows: dict[str, Row] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        found = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        if "family" not in found:
            continue
        row = rows.setdefault(found["family"], Row())
        row.config = found["config"]
        failed = case.find("failure") is not None or case.find("error") is not None
        passed = REFUSED if "refused" in found else PASSED
        row.outcomes[found["recipe"]] = FAILED if failed else found.get("graph", passed)
        row.seconds += float(case.get("time", 0.0))
        if "mac_share" in found:
            row.mac_share = float(found["mac_share"])
    if not rows:
        sys.exit(f"{path} holds no results of the conformance test: run `make conformance`")
    return rows


def markdown(rows: dict[str, Row]) -> str:
    """The table."""
    recipes = list(dict.fromkeys(r for row in rows.values() for r in row.outcomes))
    lines = [
        _line(["family", "stock config", "MACs quantized", *recipes, "seconds"]),
        _line(["---"] * (len(recipes) + 4)),
    ]
    for name, row in rows.items():
        share = "" if row.mac_share is None else f"{row.mac_share:.1%}"
        outcomes = [row.outcomes.get(recipe, "") for recipe in recipes]
        config = f"`{row.config.removeprefix('mmdet::')}`"
        lines.append(_line([name, config, share, *outcomes, f"{row.seconds:.0f}"]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", default="work_dirs/conformance.xml", type=Path)
    parser.add_argument("--out", default="docs/families.md", type=Path)
    args = parser.parse_args()
    rows = read_rows(args.results)
    args.out.write_text(HEAD + markdown(rows))
    print(f"{len(rows)} families in {args.out}")


if __name__ == "__main__":
    main()
