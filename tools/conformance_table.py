"""Write the tables of supported families and classifiers from the results of ``make conformance``.

A table of which the results hold no row stays as it is: classifiers of other packages run where
these are installed.
"""

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
CLASSIFIERS = """
## Classifiers of other packages

Networks of timm, torchvision and mmpretrain by the names they have there, with random weights and
on small images (`tests/conformance/classifiers.yaml`), where `make install TORCHVISION=...` put
these packages. `mmse_w8a8`: the logits are near the float model's; `reload`: the checkpoint, plain
or packed, gives the same bits; `adaround`: two iterations for each unit, at W4A4.

    python -m pytest -m conformance tests/conformance/test_classifiers.py --junitxml classifiers.xml
    python tools/conformance_table.py classifiers.xml

"""
RESULTS = Path("work_dirs/conformance.xml")
PASSED, REFUSED, FAILED = "yes", "refused", "**no**"


@dataclass
class Row:
    """One family or network.

    Args:
        config: The family's stock config, or the network's package.
        outcomes: By recipe.
        mac_share: Of the multiply-adds, ``None`` where it is unknown.
        seconds: Of all recipes together.
    """

    config: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    mac_share: float | None = None
    seconds: float = 0.0


Rows = dict[str, Row]


def read_rows(paths: Iterable[Path]) -> tuple[Rows, Rows]:
    """The families and the networks of JUnit XML files, in their order.

    Raises:
        SystemExit: A file is missing, or holds no results of the conformance test.
    """
    families: Rows = {}
    networks: Rows = {}
    for path in paths:
        if not path.is_file():
            sys.exit(f"there is no {path}: `make conformance` writes it")
        known = len(families) + len(networks)
        _read(path, families, networks)
        if len(families) + len(networks) == known:
            sys.exit(f"{path} holds no results of the conformance test: run `make conformance`")
    return families, networks


def _read(path: Path, families: Rows, networks: Rows) -> None:
    for case in ElementTree.parse(path).iter("testcase"):
        found = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        if "family" in found:
            row = families.setdefault(found["family"], Row(found["config"]))
        elif "network" in found:
            name = f"{found['package']} {found['network']}"
            row = networks.setdefault(name, Row(found["package"]))
        else:
            continue
        failed = case.find("failure") is not None or case.find("error") is not None
        passed = REFUSED if "refused" in found else PASSED
        row.outcomes[found["recipe"]] = FAILED if failed else found.get("graph", passed)
        row.seconds += float(case.get("time", 0.0))
        if "mac_share" in found:
            row.mac_share = float(found["mac_share"])


def families_table(rows: Rows) -> str:
    """The table of detectors."""
    first = {n: [n, f"`{row.config.removeprefix('mmdet::')}`"] for n, row in rows.items()}
    return _table(["family", "stock config"], first, rows)


def networks_table(rows: Rows) -> str:
    """The table of classifiers."""
    first = {n: [row.config, f"`{n.partition(' ')[2]}`"] for n, row in rows.items()}
    return _table(["package", "network"], first, rows)


def _table(titles: list[str], first: dict[str, list[str]], rows: Rows) -> str:
    recipes = list(dict.fromkeys(r for row in rows.values() for r in row.outcomes))
    titles = [*titles, "MACs quantized", *recipes, "seconds"]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for name, row in rows.items():
        share = "" if row.mac_share is None else f"{row.mac_share:.1%}"
        outcomes = [row.outcomes.get(recipe, "") for recipe in recipes]
        lines.append(_line([*first[name], share, *outcomes, f"{row.seconds:.0f}"]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def page(families: Rows, networks: Rows, before: str) -> str:
    """The whole page; a table without rows is that of the page ``before``."""
    title = CLASSIFIERS.strip().partition("\n")[0]
    old_families, _, old_networks = before.partition(f"\n{title}\n")
    upper = HEAD + families_table(families) if families else old_families or HEAD
    if networks:
        return upper + CLASSIFIERS + networks_table(networks)
    return f"{upper}\n{title}\n{old_networks}" if old_networks else upper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="*", default=[RESULTS], type=Path)
    parser.add_argument("--out", default="docs/families.md", type=Path)
    args = parser.parse_args()
    families, networks = read_rows(args.results)
    before = args.out.read_text() if args.out.is_file() else ""
    args.out.write_text(page(families, networks, before))
    print(f"{len(families)} families and {len(networks)} networks in {args.out}")


if __name__ == "__main__":
    main()
