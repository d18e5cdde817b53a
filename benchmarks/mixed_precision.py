"""Keep the figures of finished sweeps over budgets, and draw all that are kept.

  python tools/quantize.py configs/bccd/retinanet_r18_w4a4_mmse.py --data-root data/bccd \
      --pareto --work-dir work_dirs/sweep
  python benchmarks/mixed_precision.py work_dirs/sweep --model RetinaNet-R18
  python benchmarks/docs_tables.py

Bit-shrinking in the tables: --recipe configs/_base_/calib/bitshrink_fast.py --cfg-options
calib_cfg.num_images=32 calib_cfg.steps.1.iters=100 calib_cfg.steps.1.batch_size=2.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arguments import ROOT, new_parser
from cells import Cell, Cells

from mmptq.analysis.figures import new_figure, save_figure

RESULTS = ROOT / "benchmarks/results/mixed_precision.json"
PICTURE = ROOT / "docs/images/mixed_budgets.png"
COSTS = {"size_mb": "size, MB", "gbops": "GBOPs"}
METHODS = {"mmse": ("MMSE", "tab:blue"), "gptq": ("GPTQ", "tab:green")}
METHODS["bitshrink"] = ("Bit-shrinking", "tab:orange")


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("sweep", nargs="*", type=Path, help="work dirs of sweeps of one model")
    parser.add_argument("--model", help="its name in the tables")
    args = parser.parse_args()
    if args.sweep and not args.model:
        parser.error("--model: name the model of the sweeps")
    cells = Cells(RESULTS)
    for folder in args.sweep:
        found = cells_of(json.loads((folder / "pareto.json").read_text()), args.model)
        for name, cell in found.items():
            cells.put(name, cell)
    draw(cells.values, PICTURE)
    count = len(cells.values)
    print(f"{count} cells in {RESULTS.relative_to(ROOT)}; {PICTURE.relative_to(ROOT)}")


def cells_of(sweep: Mapping[str, Any], model: str) -> dict[str, Cell]:
    """A cell a run, and the float model's, of a ``pareto.json``."""
    found = {model: sweep["float"]} if sweep["float"] else {}
    for point in sweep["points"]:
        method = point["method"].removeprefix("mixed_")
        # A model that detects nothing has no metrics; that is an mAP of 0.
        found[f"{model}/{method}/{point['run']}"] = {"bbox_mAP": 0.0, **point}
    return found


def draw(cells: Mapping[str, Cell], path: Path) -> None:
    """A row a model: mAP over size and over bit operations, a colour a method."""
    models = [name for name in cells if "/" not in name]
    figure = new_figure(9.0, 2.9 * len(models))
    for row, model in enumerate(models):
        for column, (cost, label) in enumerate(COSTS.items()):
            axes = figure.add_subplot(len(models), 2, 2 * row + column + 1)
            for method, (name, colour) in METHODS.items():
                for prefix, style in (("uniform", "o:"), (cost, "s-")):
                    start = f"{model}/{method}/{prefix}_w"
                    points = [cell for key, cell in cells.items() if key.startswith(start)]
                    points.sort(key=lambda cell: cell[cost])
                    x = [cell[cost] for cell in points]
                    y = [100 * cell["bbox_mAP"] for cell in points]
                    kind = "uniform" if prefix == "uniform" else "mixed"
                    if points:
                        axes.plot(x, y, style, color=colour, ms=4, label=f"{name}, {kind}")
            axes.axhline(100 * cells[model]["bbox_mAP"], color="0.6", lw=0.8)
            axes.set(xlabel=label, ylabel="mAP", title=model if not column else "")
            if not column:
                axes.legend(fontsize=6, loc="lower right")
    save_figure(figure, path)


if __name__ == "__main__":
    main()
