"""The measured cells of BCCD, CIFAR-10 and YOLOX-Nano as runs of a leaderboard.

Cells keep metrics and mostly seconds: sizes, bit operations and environments are not in them, so
that the page has no plots. docs_tables.py writes docs/leaderboard.md and .csv of them; the page:

  python benchmarks/project_runs.py --out work_dirs/project_runs
  python tools/leaderboard.py work_dirs/project_runs --out work_dirs/board --title mmptq
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arguments import ROOT, new_parser
from cells import Cells

from mmptq.evaluation import FLOAT_METHOD, ResultRow, Results

BITS = r"W(?P<w>\d+)A(?P<a>\d+)"
RANGES_ONLY = ("minmax", "mmse", "l2.4")  # they iterate nothing


class Source(NamedTuple):
    """A file of cells: how it names them, what they were measured and calibrated on."""

    pattern: "re.Pattern[str]"
    test: dict[str, Any]
    images: int


BCCD = {"dataset": "CocoDataset", "annotations": ["data/bccd/annotations/val.json"], "images": 72}
CIFAR10 = {"dataset": "CIFAR10", "annotations": ["data/cifar10"], "images": 10000}
COCO = {"dataset": "CocoDataset", "annotations": ["data/coco_val416"], "images": 1200}
# Names as bccd_observers.py, reconstruction/bccd.py, classification/reconstruction.py and
# default_recipe.py give them.
SOURCES = {
    "bccd_observers": Source(
        re.compile(
            r"(?P<model>[^/]+)/(?P<scope>full|backbone_neck)/(?P<w>\d+)/(?P<method>\w+)"
            r"(/seed(?P<seed>\d+))?"
        ),
        BCCD,
        32,
    ),
    "bccd_reconstruction": Source(
        re.compile(
            rf"(?P<model>[^/]+)/((?P<scope>\w+)-)?{BITS}/(?P<setting>[^/]+)/"
            r"seed(?P<seed>\d+)/(?P<method>.+)"
        ),
        BCCD,
        32,
    ),
    "cifar10_reconstruction": Source(
        re.compile(
            rf"(?P<model>\w+)/{BITS}/(?P<method>[^/]+)/seed(?P<seed>\d+)(/(?P<setting>\d+ iters))?"
        ),
        CIFAR10,
        1024,
    ),
    "default_recipe": Source(
        re.compile(rf"(?P<model>yolox_nano)/{BITS}/(?P<method>[^/]+/[^/]+)/seed(?P<seed>\d+)"),
        COCO,
        32,
    ),
}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/project_runs"))
    args = parser.parse_args()
    count = 0
    for name, label, results in project_runs():
        results.to_json(args.out / name / re.sub(r"[^\w.+=]+", "_", label) / "results.json")
        count += 1
    print(f"{count} runs in {args.out}")


def project_runs() -> Iterator[tuple[str, str, Results]]:
    """File, cell name and run of every cell whose whole name its file's pattern matches."""
    for name, source in SOURCES.items():
        cells = Cells(ROOT / f"benchmarks/results/{name}.json").values
        for label, cell in cells.items():
            found = source.pattern.fullmatch(label)
            if found is None:
                continue
            rows = [row_of(cell, found, source.images)]
            model = found["model"]
            float_cell = cells.get(f"{model}/{FLOAT_METHOD}") or cells.get(model)
            if float_cell is not None:
                rows.insert(0, ResultRow(FLOAT_METHOD, "-", 32, 32, metrics_of(float_cell)))
            yield name, label, results_of(found, rows, source)


def results_of(found: "re.Match[str]", rows: list[ResultRow], source: Source) -> Results:
    parts, row = found.groupdict(), rows[-1]
    step = {"type": row.method}
    if row.method not in RANGES_ONLY and parts.get("setting"):
        step["setting"] = parts["setting"]
    bits = {"weight": {"num_bits": row.w_bits}, "act": {"num_bits": row.a_bits}}
    calibration = {
        "method": row.method,
        "num_images": source.images,
        "seed": int(parts.get("seed") or 0),
        "steps": [step],
        "qconfig": {"scope": row.scope, **bits},
    }
    if "setting" not in parts or row.method in RANGES_ONLY:
        calibration["labels"] = False
    return Results("", f"checkpoints/{parts['model']}.pth", {}, calibration, rows, source.test)


def row_of(cell: Mapping[str, float], found: "re.Match[str]", images: int) -> ResultRow:
    parts = found.groupdict()
    w_bits = int(parts["w"])
    return ResultRow(
        parts["method"],
        parts.get("scope") or "full",
        w_bits,
        int(parts.get("a") or w_bits),
        metrics_of(cell),
        seconds=cell.get("seconds"),
        images=images,
    )


def metrics_of(cell: Mapping[str, float]) -> dict[str, Any]:
    """As evaluators name them; ``metric`` is default_recipe.py's mAP in percent."""
    if "metric" in cell:
        return {"bbox_mAP": cell["metric"] / 100}
    return {key: value for key, value in cell.items() if key.startswith("bbox_") or key == "top1"}


if __name__ == "__main__":
    main()
