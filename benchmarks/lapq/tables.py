"""LAPQ's tables on any detector config: metric and calibration loss of each cell.

    --table 1    methods x bit-widths (the paper's Tables 1 and C.1)
    --table 3    random, layer-wise, or layer-wise and quadratic start, before and after the search
    --table 4    bias correction, on MMSE and on LAPQ
    --table B.2  LAPQ over the number of calibration images

Cells that the JSON file holds are not measured again, and a search that was killed goes on, so the
command may be stopped and started at will. It prints the table as far as it is known.

    python benchmarks/lapq/tables.py configs/demo/retinanet_w4a4_lapq.py --table 3 --images 16
"""

import argparse
import contextlib
import json
import logging
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmptq.engine import CalibrationContext, LossEvaluator
from mmptq.fileio import atomic_write
from mmptq.registry import STEPS, build
from mmptq.runner import CalibrationRunner
from mmptq.runner.prepare_config import set_data_root

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ("minmax", "mmse", "kl", "aciq")
STARTS = ("random", "lw", "lw+qa")
ROWS = {
    "1": (*BASELINES, "lw+qa+joint"),
    "3": tuple(f"{start}{joint}" for start in STARTS for joint in ("", "+joint")),
    "4": ("mmse", "bc+mmse", "lw+qa+joint", "bc+lw+qa+joint"),
    "B.2": ("lw+qa+joint",),
}
BITS = {"1": ("8/4", "8/3", "4/4", "8/2", "32/4", "4/32"), "3": ("4/4",), "4": ("4/4",)}
METRIC = "bbox_mAP"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="any config of tools/quantize.py")
    parser.add_argument("--table", choices=ROWS, required=True)
    parser.add_argument("--checkpoint", help="float weights (default: the config's load_from)")
    parser.add_argument("--data-root", help="replaces the config's data_root")
    parser.add_argument("--scope", default="lapq_paper")
    parser.add_argument("--bits", nargs="+", help="weights/activations, e.g. 4/4 8/2")
    parser.add_argument("--rows", nargs="+", help="some of the table's rows")
    parser.add_argument("--images", nargs="+", type=int, help="calibration images")
    parser.add_argument("--objective", default="TaskLoss")
    parser.add_argument("--optimizer", default="Powell")
    parser.add_argument("--group", default="tensor")
    parser.add_argument("--max-iters", type=int, default=1)
    parser.add_argument("--max-evals", type=int)
    parser.add_argument("--cache-gb", type=float, default=2.0)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/lapq.json")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/lapq_tables"))
    parser.add_argument("--print-only", action="store_true")
    args = parser.parse_args()
    args.rows = args.rows or ROWS[args.table]
    args.bits = args.bits or BITS.get(args.table, ("4/4",))
    args.images = args.images or ((8, 16, 32, 64) if args.table == "B.2" else (32,))
    return args


def main() -> None:
    args = parse_args()
    cells = json.loads(args.json.read_text()) if args.json.exists() else {}
    if not args.print_only:
        for bits in args.bits:
            for images in args.images:
                measure(cells, args, bits, images)
    print_table(cells, args)


def measure(cells: dict[str, Any], args: argparse.Namespace, bits: str, images: int) -> None:
    """All rows at one bit-width and number of images: the statistics are collected once."""
    names = {row: cell_name(args, row, bits, images) for row in args.rows}
    float_name = cell_name(args, "float")
    if all(name in cells for name in [*names.values(), float_name]):
        return
    runner = make_runner(args, bits, images)
    context = runner.setup()
    if float_name not in cells:
        save(args.json, cells, float_name, {"metric": metric(runner, "float")})
    runner.prepare_model(context)
    for row, name in names.items():
        if name not in cells:
            save(args.json, cells, name, run_cell(args, row, runner, context))
            print(f"{name}: {cells[name]}", flush=True)


def run_cell(
    args: argparse.Namespace, row: str, runner: CalibrationRunner, context: CalibrationContext
) -> dict[str, float]:
    """Run a recipe on the model and measure it."""
    for _, layer in context.model.quant_layers():
        layer.set_weight_correction(None)
    start = time.perf_counter()
    for step in recipe(args, row):
        build(STEPS, step, row).run(context)
    seconds = time.perf_counter() - start
    objective = {"type": args.objective}
    loss = LossEvaluator(context, objective, incremental=False, cache_gb=args.cache_gb)()
    return {"metric": metric(runner, row), "loss": loss, "seconds": round(seconds, 1)}


def recipe(args: argparse.Namespace, row: str) -> list[dict[str, Any]]:
    """Steps of a row: its parts, joined by ``+``."""
    objective, budget = {"type": args.objective}, {"cache_gb": args.cache_gb}
    joint = dict(
        type="JointSearch",
        objective=objective,
        optimizer=args.optimizer,
        group=args.group,
        max_iters=args.max_iters,
        max_evals=args.max_evals,
        **budget,
    )
    steps: list[dict[str, Any]] = []
    for part in row.replace("lw+qa", "lpi").replace("lw", "mmse").split("+"):
        if part in BASELINES:
            path = ROOT / f"configs/_base_/calib/{part}.py"
            steps += Config.fromfile(path).calib_cfg.to_dict()["steps"]
        else:
            parts = {
                "bc": dict(type="BiasCorrection"),
                "random": dict(type="RandomRanges"),
                "lpi": dict(type="LpInterpolation", objective=objective, **budget),
                "joint": joint,
            }
            steps.append(parts[part])
    return steps


def make_runner(args: argparse.Namespace, bits: str, images: int) -> CalibrationRunner:
    cfg = Config.fromfile(args.config)
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if args.checkpoint:
        cfg.load_from = args.checkpoint
    weight, act = (int(b) for b in bits.split("/"))
    cfg.qconfig = dict(
        scope=args.scope,
        weight=None if weight == 32 else dict(num_bits=weight),
        act=None if act == 32 else dict(num_bits=act),
    )
    cfg.calib_cfg.num_images = images
    name = f"{Path(args.config).stem}_{args.scope}_w{weight}a{act}_{images}"
    cfg.work_dir, cfg.launcher, cfg.resume = str(args.work_dir / name), "none", True
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None)
    # MMEngine keeps loggers and visualizers by name for the whole process.
    cfg.experiment_name = cfg.visualizer.name = name
    return CalibrationRunner.from_cfg(cfg)


def metric(runner: CalibrationRunner, method: str) -> float:
    """Box mAP in percent, without pycocotools' prints."""
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        metrics = runner.evaluate(method)
    found = {key.rpartition("/")[2]: value for key, value in metrics.items()}
    return round(100.0 * found[METRIC], 2)


def cell_name(args: argparse.Namespace, row: str, bits: str = "", images: int = 0) -> str:
    model = Path(args.config).stem
    if row == "float":
        return f"{model}/float"
    name = f"{model}/{args.scope}/{bits}/{images} images/{row}"
    if "joint" in row or "qa" in row:
        name += f"/{args.objective}"
    if "joint" in row:
        name += f"/{args.optimizer}/{args.group}/{args.max_iters}"
        name += f"/{args.max_evals}" if args.max_evals else ""
    return name


def save(path: Path, cells: dict[str, Any], name: str, figures: dict[str, float]) -> None:
    cells[name] = figures
    with atomic_write(path) as file:
        file.write((json.dumps(cells, indent=1, sort_keys=True) + "\n").encode())


def print_table(cells: dict[str, Any], args: argparse.Namespace) -> None:
    """Markdown: one row a method, one column a bit-width and number of images."""
    columns = [(bits, images) for bits in args.bits for images in args.images]
    float_figures = cells.get(cell_name(args, "float"))
    print(f"\n{Path(args.config).stem}, scope {args.scope}, mAP (calibration loss)")
    print("| method | " + " | ".join(f"W{b.replace('/', 'A')}, {n}" for b, n in columns) + " |")
    print("|---|" + "---|" * len(columns))
    if float_figures:
        print("| float | " + " | ".join(f"{float_figures['metric']:.1f}" for _ in columns) + " |")
    show = partial(cell_text, cells, args)
    for row in args.rows:
        print(f"| {row} | " + " | ".join(show(row, *column) for column in columns) + " |")


def cell_text(cells: dict[str, Any], args: argparse.Namespace, row: str, *column: Any) -> str:
    figures = cells.get(cell_name(args, row, *column))
    return f"{figures['metric']:.1f} ({figures['loss']:.4f})" if figures else ""


if __name__ == "__main__":
    main()
