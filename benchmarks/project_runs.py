"""The measured cells of the project as runs of a leaderboard.

Cells keep metrics and mostly seconds: few have sizes, none bit operations or environments, so that
the page has hardly a plot. docs_tables.py writes docs/leaderboard.md and .csv of them; the page:

  python benchmarks/project_runs.py --out work_dirs/project_runs
  python tools/leaderboard.py work_dirs/project_runs --out work_dirs/board --title mmptq
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arguments import ROOT, new_parser
from cells import Cells
from run_sources import SOURCES, Source

from mmptq.evaluation import FLOAT_METHOD, ResultRow, Results

DECIDES = ("model", "scope", "w", "a", "method", "images", "seed", "setting", "runtime", "target")


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
    """File, cell name and run of every cell that a source names; what two files have, once."""
    seen: set[tuple[str, ...]] = set()
    floats: dict[tuple[str, str], ResultRow] = {}
    for source in SOURCES:
        cells = Cells(ROOT / f"benchmarks/results/{source.file}.json").values
        (test,) = source.test["annotations"]
        for name, cell in cells.items():
            parts = source.parts(name)
            if parts is None:
                continue
            if "labels" in cell:
                parts["labels"] = cell["labels"]
            identity = (test, *(str(parts.get(key)) for key in DECIDES))
            if identity in seen:
                continue
            seen.add(identity)
            model = (test, parts["model"])
            if model not in floats and (float_cell := float_of(name, cells)) is not None:
                metrics = metrics_of(float_cell, source)
                floats[model] = ResultRow(FLOAT_METHOD, "-", 32, 32, metrics)
            rows = [floats[model]] if model in floats else []
            rows.append(row_of(cell, parts, source))
            yield source.file, name, results_of(parts, rows, source.test)


def float_of(name: str, cells: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The float model's cell: by the model's name alone, or its name, float and what else."""
    words = name.split("/")
    for count in range(1, len(words)):
        start = "/".join(words[:count])
        if start in cells:
            return cells[start]
        found = (cell for n, cell in cells.items() if f"{n}/".startswith(f"{start}/float/"))
        if (cell := next(found, None)) is not None:
            return cell
    return None


def results_of(parts: Mapping[str, Any], rows: list[ResultRow], test: dict[str, Any]) -> Results:
    row = rows[-1]
    step = {"type": row.method}
    if parts["setting"]:
        step["setting"] = parts["setting"]
    qconfig = {
        "scope": row.scope,
        "weight": {"num_bits": row.w_bits},
        "act": {"num_bits": row.a_bits},
    }
    if "target" in parts:
        qconfig["target"] = parts["target"]
    calibration = {
        "method": row.method,
        "num_images": row.images,
        "seed": int(parts["seed"]),
        "steps": [step],
        "qconfig": qconfig,
    }
    if "labels" in parts:
        calibration["labels"] = parts["labels"]
    return Results("", f"checkpoints/{parts['model']}.pth", {}, calibration, rows, test)


def row_of(cell: Mapping[str, Any], parts: Mapping[str, Any], source: Source) -> ResultRow:
    return ResultRow(
        parts["method"],
        parts["scope"],
        float(parts["w"] if "w" in parts else cell["w_bits"]),
        float(parts["a"] if "a" in parts else cell["a_bits"]),
        metrics_of(cell, source),
        seconds=cell.get("seconds"),
        images=int(parts["images"]),
        size_mb=cell["mb"][1] if "mb" in cell else cell.get("size_mb"),
        gbops=cell.get("gbops"),
        runtime=parts.get("runtime"),
    )


def metrics_of(cell: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """As evaluators name them: shares of an mAP, top-1 in percent."""
    if source.key is not None:
        value = cell[source.key if source.key in cell else "metric"]
        return {source.metric: value if source.metric == "top1" else value / 100}
    return {key: value for key, value in cell.items() if key.startswith("bbox_") or key == "top1"}


if __name__ == "__main__":
    main()
