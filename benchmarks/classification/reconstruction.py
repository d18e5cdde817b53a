r"""Top-1 of the reconstruction family on CIFAR-10: models, methods, bit-widths, seeds.

The protocol of QDrop's released code: affine per-channel weights, one step a tensor of activations,
first and last layer in 8 bit, 1024 calibration images, ranges by L_2.4, 1000 iterations a block of
32 images, all 10000 test images. Prints the table of docs/results.md. Cells that the JSON file
holds are not measured again and a killed one goes on within its block, so the command may be
stopped and started at will.

  python benchmarks/classification/reconstruction.py --data-root data/cifar10 --models resnet20
  python benchmarks/classification/reconstruction.py --data-root data/cifar10 --models resnet56 \
      --iters 250
  python benchmarks/classification/reconstruction.py --models resnet20 --bits W2A2 \
      --methods qdrop --seeds 1 --options lr_rounding=3e-3
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import set_random_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import ROOT, add_cells, add_options, new_parser, parse_options
from cells import Cells
from classification.common import MODELS, bits_of, make_runner, top1
from peak_memory import peak_mb, reset_peak

from mmptq.engine import CalibrationContext, StageStore
from mmptq.registry import STEPS, build
from mmptq.runner import CalibrationRunner

# Method -> recipe in configs/classification/_base_/calib/, and changes of its steps.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "mmse": ("mmse", {}),
    "l2.4": ("mmse", {}),
    "adaround": ("adaround", {}),
    "brecq": ("brecq", {}),
    "qdrop": ("qdrop", {}),
    "direct": ("bitshrink", {"mode": "direct"}),
    "progressive": ("bitshrink", {"mode": "progressive"}),
    "bitshrink": ("bitshrink", {}),
}
BITS = ("W4A4", "W3A3", "W2A4", "W2A2")
IMAGES, ITERS, START_P = 1024, 1000, 2.4


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--data-root", default="data/cifar10", help="images and float models")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--bits", nargs="+", default=list(BITS), help="such as W4A4")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--images", type=int, default=IMAGES, help="calibration images")
    parser.add_argument("--iters", type=int, default=ITERS, help="iterations a block")
    parser.add_argument(
        "--start-p", type=float, default=START_P, help="L_p of the ranges to start from"
    )
    parser.add_argument("--symmetric", action="store_true", help="symmetric weights")
    add_options(parser)
    add_cells(parser, "cifar10_reconstruction")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/cifar10_reconstruction"))
    args = parser.parse_args()
    args.options = parse_options(args.options)
    return args


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        for model in args.models:
            for seed in args.seeds:
                for bits in args.bits:
                    measure(cells, args, model, bits, seed)
    print_tables(cells, args)


def measure(cells: Cells, args: argparse.Namespace, model: str, bits: str, seed: int) -> None:
    """All methods at one bit-width and seed: the statistics are collected once."""
    names = {method: cell_name(args, model, bits, method, seed) for method in args.methods}
    missing = [method for method, name in names.items() if name not in cells.values]
    if not missing and f"{model}/float" in cells.values:
        return
    folder = args.work_dir / model / f"{bits}_seed{seed}_{args.images}_{args.symmetric}"
    runner = make_runner(
        args.data_root,
        model,
        bits_of(bits),
        folder,
        args.symmetric,
        num_images=args.images,
        seed=seed,
    )
    context = runner.setup()
    cells.measure(f"{model}/float", lambda: {"top1": top1(runner)})
    runner.prepare_model(context)
    fresh = {key: value.clone() for key, value in runner.model.state_dict().items()}
    for method in missing:
        runner.model.load_state_dict(fresh)
        name = names[method]
        cell_dir = args.work_dir / name.replace("/", "_")
        figures = cells.measure(name, lambda m=method, d=cell_dir: run(args, runner, context, m, d))
        shutil.rmtree(cell_dir / "stages", ignore_errors=True)
        print(f"{name}: {figures}", flush=True)


def run(
    args: argparse.Namespace,
    runner: CalibrationRunner,
    context: CalibrationContext,
    method: str,
    folder: Path,
) -> dict[str, Any]:
    """Run a method on the freshly prepared model and measure it."""
    store = StageStore(folder / "stages", {"cell": folder.name}, resume=True)
    context = replace(context, store=store)
    reset_peak()
    seed, start = runner.settings.seed, time.perf_counter()
    for index, step in enumerate(recipe(args, method)):
        set_random_seed(seed + index)
        build(STEPS, step, f"{method}[{index}]").run(context)
    seconds = time.perf_counter() - start
    return {
        "top1": top1(runner),
        "seconds": round(seconds, 1),
        "peak_mb": peak_mb(),
        **unit_losses(folder),
    }


def recipe(args: argparse.Namespace, method: str) -> list[dict[str, Any]]:
    """The method's steps with what the command line changes."""
    name, changes = METHODS[method]
    path = ROOT / f"configs/classification/_base_/calib/{name}.py"
    steps = Config.fromfile(path).calib_cfg.to_dict()["steps"]
    for step in steps:
        if step["type"] == "RangeCalibration":
            step["weight"]["p"] = step["act"]["p"] = 2.0 if method == "mmse" else args.start_p
        if "iters" in step:
            step.update(changes, iters=args.iters, **args.options)
    return steps


def unit_losses(folder: Path) -> dict[str, float]:
    """Sum over the units of the loss before and after, of the last step that has units."""
    found = sorted(folder.glob("reconstruction/*/summary.json"), key=lambda p: p.stat().st_mtime)
    if not found:
        return {}
    units = json.loads(found[-1].read_text())
    return {key: round(sum(unit[key] for unit in units), 4) for key in ("before", "after")}


def cell_name(args: argparse.Namespace, model: str, bits: str, method: str, seed: int) -> str:
    name = f"{model}/{bits}/{method}/seed{seed}"
    name += "/symmetric weights" if args.symmetric else ""
    if method not in ("mmse", "l2.4"):
        name += f"/{args.iters} iters" if args.iters != ITERS else ""
        name += "".join(f"/{key}={value}" for key, value in args.options.items())
    name += f"/start p={args.start_p:g}" if args.start_p != START_P and method != "mmse" else ""
    return name + (f"/{args.images} images" if args.images != IMAGES else "")


def print_tables(cells: Cells, args: argparse.Namespace) -> None:
    """Markdown, one table for each model asked for, of the sizes and options asked for.

    Mean top-1 over the seeds, its spread, their number.
    """
    for model in args.models:
        if f"{model}/float" not in cells.values:
            continue
        print(f"\n**{model}**, float {cells.values[f'{model}/float']['top1']:.2f}\n")
        print("| top-1 | " + " | ".join(BITS) + " | seconds a cell |")
        print("|---|" + "---|" * (len(BITS) + 1))
        for method in METHODS:
            found = [_of_method(cells, args, model, bits, method) for bits in BITS]
            seconds = [figures["seconds"] for cell in found for figures in cell]
            texts = [_spread([figures["top1"] for figures in cell]) for cell in found]
            between = f"{min(seconds):.0f}-{max(seconds):.0f}" if seconds else ""
            print(f"| {method} | " + " | ".join(texts) + f" | {between} |")


def _of_method(
    cells: Cells, args: argparse.Namespace, model: str, bits: str, method: str
) -> list[dict[str, Any]]:
    names = (cell_name(args, model, bits, method, seed) for seed in range(100))
    return [cells.values[name] for name in names if name in cells.values]


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {torch.tensor(values).std():.2f} ({len(values)})"


if __name__ == "__main__":
    main()
