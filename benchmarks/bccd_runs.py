"""The measured cells of BCCD as runs, for tools/leaderboard.py.

Cells keep metrics and, of reconstruction, seconds: sizes, bit operations and environments are not
in them, so that the page has no plots.

  python benchmarks/bccd_runs.py --out work_dirs/bccd_runs
  python tools/leaderboard.py work_dirs/bccd_runs --out work_dirs/bccd_board --title BCCD
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arguments import ROOT, new_parser
from cells import Cells

from mmptq.evaluation import FLOAT_METHOD, ResultRow, Results

# Names as bccd_observers.py and reconstruction/bccd.py give them.
OBSERVER = re.compile(
    r"(?P<model>[^/]+)/(?P<scope>full|backbone_neck)/(?P<w>\d+)/(?P<method>\w+)(/seed(?P<seed>\d+))?"
)
RECONSTRUCTION = re.compile(
    r"(?P<model>[^/]+)/((?P<scope>\w+)-)?W(?P<w>\d+)A(?P<a>\d+)/(?P<setting>[^/]+)/"
    r"seed(?P<seed>\d+)/(?P<method>.+)"
)
FILES = {"bccd_observers": OBSERVER, "bccd_reconstruction": RECONSTRUCTION}
RANGES_ONLY = ("minmax", "mmse")  # they iterate nothing
TEST = {"dataset": "CocoDataset", "annotations": ["data/bccd/annotations/val.json"], "images": 72}
IMAGES = 32  # for calibration


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/bccd_runs"))
    args = parser.parse_args()
    count = 0
    for name, pattern in FILES.items():
        cells = Cells(ROOT / f"benchmarks/results/{name}.json").values
        for label, results in runs(cells, pattern):
            results.to_json(args.out / name / re.sub(r"[^\w.+=]+", "_", label) / "results.json")
            count += 1
    print(f"{count} runs in {args.out}")


def runs(
    cells: Mapping[str, Mapping[str, float]], pattern: "re.Pattern[str]"
) -> Iterator[tuple[str, Results]]:
    """Those cells whose whole name the pattern matches, each with its float model."""
    for name, cell in cells.items():
        found = pattern.fullmatch(name)
        if found is not None:
            rows = [row_of(cell, found)]
            float_cell = cells.get(f"{found['model']}/{FLOAT_METHOD}")
            if float_cell is not None:
                rows.insert(0, ResultRow(FLOAT_METHOD, "-", 32, 32, metrics_of(float_cell)))
            yield name, results_of(found, rows)


def results_of(found: "re.Match[str]", rows: list[ResultRow]) -> Results:
    parts, row = found.groupdict(), rows[-1]
    step = {"type": row.method}
    if row.method not in RANGES_ONLY and parts.get("setting"):
        step["images x iterations x batch"] = parts["setting"]
    bits = {"weight": {"num_bits": row.w_bits}, "act": {"num_bits": row.a_bits}}
    calibration = {
        "method": row.method,
        "num_images": IMAGES,
        "seed": int(parts.get("seed") or 0),
        "steps": [step],
        "qconfig": {"scope": row.scope, **bits},
    }
    if "setting" not in parts or row.method in RANGES_ONLY:
        calibration["labels"] = False
    return Results("", f"checkpoints/bccd/{parts['model']}.pth", {}, calibration, rows, TEST)


def row_of(cell: Mapping[str, float], found: "re.Match[str]") -> ResultRow:
    parts = found.groupdict()
    w_bits = int(parts["w"])
    return ResultRow(
        parts["method"],
        parts["scope"] or "full",
        w_bits,
        int(parts.get("a") or w_bits),
        metrics_of(cell),
        seconds=cell.get("seconds"),
        images=IMAGES,
    )


def metrics_of(cell: Mapping[str, float]) -> dict[str, Any]:
    return {key: value for key, value in cell.items() if key.startswith("bbox_")}


if __name__ == "__main__":
    main()
