r"""mAP of the reconstruction family on BCCD, at equal iterations and calibration images.

Prints the tables of docs/results.md. Cells that the JSON file holds are not measured again, so the
command may be stopped and started at will, and the table grows run by run. Logs and plots of the
units stay in --work-dir.

  python benchmarks/reconstruction/bccd.py --data-root data/bccd --checkpoints checkpoints/bccd
  python benchmarks/reconstruction/bccd.py --models RetinaNet-R18 --columns W2A4 \
      --methods bitshrink --options tau=0.1 shrink_share=0.5
"""

import argparse
import json
import re
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.runner import set_random_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import add_bccd, add_cells, add_options, new_parser, parse_options
from bccd_observers import MODELS, cell_name, make_runner, quietly
from cells import Cells
from peak_memory import peak_mb, reset_peak

from mmptq.engine import CalibrationContext
from mmptq.registry import STEPS, build
from mmptq.runner import CalibrationRunner

MMSE = dict(type="LpNormObserver", p=2.0)
START = dict(type="RangeCalibration", weight=MMSE, act=MMSE)
LAPQ = [
    dict(type="LpInterpolation", num_points=5),
    dict(type="JointSearch", group="unit", max_evals=60),
]
# What each method does after MMSE ranges were set.
METHODS: dict[str, list[dict[str, Any]]] = {
    "mmse": [],
    "adaround": [dict(type="AdaRound")],
    "brecq": [dict(type="BRECQ"), dict(type="LearnedSteps")],
    "qdrop": [dict(type="QDrop")],
    "direct": [dict(type="BitShrinking", mode="direct")],
    "progressive": [dict(type="BitShrinking", mode="progressive")],
    "bitshrink": [dict(type="BitShrinking")],
    "lapq+bitshrink": [*LAPQ, dict(type="BitShrinking")],
}
NO_LOOP = ("LpInterpolation", "JointSearch")
COLUMNS = {
    "W4A4": ("full", 4, 4),
    "W3A3": ("full", 3, 3),
    "W2A4": ("full", 2, 4),
    "backbone_neck-W4A4": ("backbone_neck", 4, 4),
}


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_bccd(parser, list(MODELS))
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--images", type=int, default=32, help="calibration images")
    parser.add_argument("--iters", type=int, default=100, help="iterations a unit")
    parser.add_argument("--batch", type=int, default=2, help="images in a mini-batch")
    add_options(parser)
    add_cells(parser, "bccd_reconstruction")
    parser.add_argument("--no-trials", action="store_true", help="print no table of the trials")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/bccd_reconstruction"))
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        for column in args.columns:
            for model in args.models:
                for seed in args.seeds:
                    measure(cells, args, model, column, seed)
    print_tables(cells, args)
    if not args.no_trials:
        print_trials(cells, args)


def measure(cells: Cells, args: argparse.Namespace, model: str, column: str, seed: int) -> None:
    """All methods of one column: they share the images and the MMSE ranges."""
    names = {m: full_name(args, model, column, m, seed) for m in args.methods}
    missing = [m for m in args.methods if names[m] not in cells.values]
    if not missing:
        return
    scope, weight_bits, act_bits = COLUMNS[column]
    args.seed = seed
    work_dir = args.work_dir / re.sub(r"\W+", "_", f"{model} {column} {seed}")
    runner = make_runner(args, model, scope, weight_bits, str(work_dir), act_bits)
    context = runner.setup()
    cells.measure(cell_name(model), partial(quietly, runner, "float"))
    runner.prepare_model(context)
    build(STEPS, START, "start").run(context)
    start = {key: value.clone() for key, value in runner.model.state_dict().items()}
    for method in missing:
        runner.model.load_state_dict(start)
        steps = [dict(step) for step in METHODS[method]]
        for step in steps:
            if step["type"] not in NO_LOOP:
                step.update(preset="fast", iters=args.iters, batch_size=args.batch)
                # Measuring for the log would take a good part of so short a run.
                step.update(log_interval=max(args.iters // 5, 1), probe_images=4)
            if step["type"] in ("AdaRound", "BRECQ", "QDrop"):
                # A rounding has about 2 to go; the preset's is for three times the iterations.
                step.update(lr_rounding=min(10.0 / args.iters, 0.1))
        if args.options:
            steps[-1].update(parse_options(args.options))
        figures = cells.measure(names[method], partial(run, runner, context, steps, seed))
        print(f"{names[method]}: {json.dumps(figures)}", flush=True)
        keep_logs(work_dir / "reconstruction", names[method].rpartition("/")[2])


def run(
    runner: CalibrationRunner, context: CalibrationContext, steps: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """Do the steps; mAP, seconds of the steps, the units' losses, peak memory of the process."""
    reset_peak()
    begin = time.perf_counter()
    units: list[dict[str, Any]] = []
    for index, step in enumerate(steps):
        set_random_seed(seed + index)
        build(STEPS, step, f"steps[{index}]").run(context)
        summary = Path(runner.work_dir) / "reconstruction" / step["type"] / "summary.json"
        if step["type"] not in NO_LOOP:
            units = json.loads(summary.read_text())
    seconds = time.perf_counter() - begin
    return {
        **quietly(runner, "method"),
        "seconds": round(seconds, 1),
        "peak_mb": peak_mb(),
        "unit_losses_before": sum(unit["before"] for unit in units),
        "unit_losses_after": sum(unit["after"] for unit in units),
        "stops": sum(unit["stops"] for unit in units),
        "forced": sum(unit["forced"] for unit in units),
    }


def keep_logs(folder: Path, name: str) -> None:
    """Rename what a method wrote: the next one would write to the same folder."""
    if folder.exists():
        kept = folder.with_name(name)
        shutil.rmtree(kept, ignore_errors=True)
        folder.rename(kept)


def full_name(args: argparse.Namespace, model: str, column: str, method: str, seed: int) -> str:
    size = f"{args.images}x{args.iters}x{args.batch}"
    trial = [",".join([method, *sorted(args.options)])] if args.options else []
    return cell_name(model, column, size, f"seed{seed}", *(trial or [method]))


def print_tables(cells: Cells, args: argparse.Namespace) -> None:
    """Markdown: one row a method; mean and spread over the seeds that are there."""
    for model in MODELS:
        if cell_name(model) not in cells.values:
            continue
        float_map = 100 * cells.values[cell_name(model)]["bbox_mAP"]
        print(f"\n**{model}**, float {float_map:.1f} mAP\n")
        print("| method | " + " | ".join(f"{column} | s" for column in COLUMNS) + " |")
        print("|---|" + "---|---|" * len(COLUMNS))
        for method in METHODS:
            row = []
            for column in COLUMNS:
                found = of_all_seeds(cells, args, model, column, method)
                row += [spread([100 * f["bbox_mAP"] for f in found])]
                row += [f"{found[0]['seconds']:.0f}" if found else ""]
            print(f"| {method} | " + " | ".join(row) + " |")
        peaks = [v.get("peak_mb", 0) for k, v in cells.values.items() if k.startswith(f"{model}/")]
        print(f"\nPeak memory of the process: at most {max(peaks, default=0)} MB.")


def of_all_seeds(
    cells: Cells, args: argparse.Namespace, model: str, column: str, method: str
) -> list[dict[str, Any]]:
    """A cell for every seed that was measured, at the sizes asked for and without options."""
    plain = argparse.Namespace(**{**vars(args), "options": []})
    names = (full_name(plain, model, column, method, seed) for seed in range(10))
    return [cells.values[name] for name in names if name in cells.values]


def spread(values: list[float]) -> str:
    """Mean, and where there are several, least and largest."""
    if not values:
        return ""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.1f}"
    return f"{mean:.1f} ({min(values):.1f} to {max(values):.1f}, {len(values)} seeds)"


def print_trials(cells: Cells, args: argparse.Namespace) -> None:
    """Markdown: every cell that was measured with options or at another size."""
    plain = f"{args.images}x{args.iters}x{args.batch}"
    print(
        "\n| trial | mAP | unit losses, start to end | stops (forced) | s |\n|---|---|---|---|---|"
    )
    for name, cell in cells.values.items():
        parts = name.split("/")
        if len(parts) == 5 and (parts[2] != plain or parts[4] not in METHODS):
            print(
                f"| {name} | {100 * cell['bbox_mAP']:.1f} | {cell['unit_losses_before']:.4g} to "
                f"{cell['unit_losses_after']:.4g} | {cell['stops']} ({cell['forced']}) | "
                f"{cell['seconds']:.0f} |"
            )


if __name__ == "__main__":
    main()
