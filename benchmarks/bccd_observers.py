"""mAP of every observer on BCCD: two families, two scopes, three bit-widths.

Prints the tables of docs/results.md. Cells that the JSON file holds are not measured again. Two
tables tell noise from loss: W8A8 over several choices of the calibration images (--seed), and the
float model's mAP after its weights were moved at random by up to half a step of their 8-bit grid,
the error that rounding makes, but without any quantizer.

  python benchmarks/bccd_observers.py --data-root data/bccd --checkpoints checkpoints/bccd
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from arguments import ROOT, add_bccd, add_cells, new_parser
from cells import Cells
from mmengine.config import Config
from silence import quiet

from mmptq.registry import STEPS, build
from mmptq.runner import CalibrationRunner
from mmptq.runner.prepare_config import set_data_root

MODELS = {
    "RetinaNet-R18": ("retinanet_r18", "retinanet_r18_bccd.pth"),
    "Faster R-CNN-R18": ("faster_rcnn_r18", "faster-rcnn_r18_bccd.pth"),
}
OBSERVERS = ("minmax", "moving_average", "percentile", "mmse", "lp", "kl", "aciq")
SCOPES = ("full", "backbone_neck")
BITS = (8, 6, 4)
NOISE_SEEDS = range(4)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_bccd(parser, list(MODELS))
    parser.add_argument("--scopes", nargs="+", choices=SCOPES, default=list(SCOPES))
    parser.add_argument("--bits", nargs="+", type=int, default=list(BITS))
    parser.add_argument("--observers", nargs="+", choices=OBSERVERS, default=list(OBSERVERS))
    parser.add_argument("--seed", type=int, default=0, help="which calibration images")
    parser.add_argument("--images", type=int, default=32, help="calibration images")
    add_cells(parser, "bccd_observers")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        for model in args.models:
            for scope in args.scopes:
                for bits in args.bits:
                    measure(cells, args, model, scope, bits)
            measure_noise(cells, args, model)
    print_table(cells)
    print_seeds(cells)
    print_noise(cells)


def measure(cells: Cells, args: argparse.Namespace, model: str, scope: str, bits: int) -> None:
    """All observers at one bit-width: the statistics are collected once."""
    choice = (f"seed{args.seed}",) if args.seed else ()
    names = {o: cell_name(model, scope, bits, o, *choice) for o in args.observers}
    missing = [o for o in args.observers if names[o] not in cells.values]
    if not missing and cell_name(model) in cells.values:
        return
    with tempfile.TemporaryDirectory() as work_dir:
        runner = make_runner(args, model, scope, bits, work_dir)
        context = runner.setup()
        cells.measure(cell_name(model), partial(quietly, runner, "float"))
        runner.prepare_model(context)
        for observer in missing:
            recipe = Config.fromfile(ROOT / f"configs/_base_/calib/{observer}.py").calib_cfg
            for index, step in enumerate(recipe.steps):
                build(STEPS, step, f"steps[{index}]").run(context)
            name = names[observer]
            figures = cells.measure(name, partial(quietly, runner, observer))
            print(f"{name}: {100 * figures['bbox_mAP']:.1f}", flush=True)


def measure_noise(cells: Cells, args: argparse.Namespace, model: str) -> None:
    """The float model under weight noise of the size of 8-bit rounding."""
    if all(cell_name(model, "noise", seed) in cells.values for seed in NOISE_SEEDS):
        return
    with tempfile.TemporaryDirectory() as work_dir:
        runner = make_runner(args, model, "full", 8, work_dir)
        runner.setup()
        runner.model.prepare(runner.plan)
        layers = [layer for _, layer in runner.model.quant_layers()]
        weights = [layer.weight.detach().clone() for layer in layers]
        for seed in NOISE_SEEDS:
            torch.manual_seed(seed)
            for layer, weight in zip(layers, weights, strict=True):
                step = 2 * weight.abs().flatten(1).amax(1) / 255
                step = step.reshape(-1, *[1] * (weight.dim() - 1))
                with torch.no_grad():
                    layer.weight.copy_(weight + (torch.rand_like(weight) - 0.5) * step)
            cells.measure(cell_name(model, "noise", seed), partial(quietly, runner, "noise"))


def print_seeds(cells: Cells) -> None:
    """Markdown: difference to float at W8A8 ``full``, mean over the seeds that are there."""
    print("\n| W8A8 full, mean difference to float | " + " | ".join(OBSERVERS) + " |")
    print("|---|" + "---|" * len(OBSERVERS))
    for model in MODELS:
        means = []
        for observer in OBSERVERS:
            name = cell_name(model, "full", 8, observer)
            found = [
                v["bbox_mAP"] for k, v in cells.values.items() if f"{k}/".startswith(f"{name}/")
            ]
            if found:
                change = sum(found) / len(found) - cells.values[cell_name(model)]["bbox_mAP"]
                means.append(f"{100 * change:+.2f} ({len(found)})")
        print(f"| {model} (seeds) | " + " | ".join(means) + " |")


def print_noise(cells: Cells) -> None:
    """Markdown: mAP of each seed."""
    print("\n| float model, noise of 8-bit rounding | " + " | ".join(map(str, NOISE_SEEDS)) + " |")
    print("|---|" + "---|" * len(NOISE_SEEDS))
    for model in MODELS:
        found = [cells.values.get(cell_name(model, "noise", seed)) for seed in NOISE_SEEDS]
        figures = [f"{100 * f['bbox_mAP']:.1f}" if f else "" for f in found]
        print(f"| {model} | " + " | ".join(figures) + " |")


def cell_name(model: str, *rest: Any) -> str:
    return "/".join(map(str, (model, *(rest or ("float",)))))


def make_runner(
    args: argparse.Namespace,
    model: str,
    scope: str,
    bits: int,
    work_dir: str,
    act_bits: int | None = None,
) -> CalibrationRunner:
    stem, checkpoint = MODELS[model]
    cfg = Config.fromfile(ROOT / f"configs/bccd/{stem}_w4a4_mmse.py")
    set_data_root(cfg, args.data_root)
    cfg.load_from = str(Path(args.checkpoints) / checkpoint)
    cfg.work_dir = work_dir
    cfg.qconfig = dict(scope=scope, weight=dict(num_bits=bits), act=dict(num_bits=act_bits or bits))
    cfg.calib_cfg.num_images, cfg.calib_cfg.seed = args.images, args.seed
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None)
    cfg.log_level = "WARNING"
    # MMEngine keeps loggers and visualizers by name for the whole process.
    cfg.experiment_name = cfg.visualizer.name = Path(work_dir).name
    return CalibrationRunner.from_cfg(cfg)


def quietly(runner: CalibrationRunner, method: str) -> dict[str, Any]:
    """Evaluate without pycocotools' prints."""
    with quiet():
        metrics = runner.evaluate(method)
    return {k: v for k, v in metrics.items() if isinstance(v, float)}


def print_table(cells: Cells) -> None:
    """Markdown: one row an observer, one column a model, scope and bit-width."""
    for model in MODELS:
        if cell_name(model) not in cells.values:
            continue
        float_map = 100 * cells.values[cell_name(model)]["bbox_mAP"]
        columns = [(s, b) for s in SCOPES for b in BITS]
        print(f"\n**{model}**, float {float_map:.1f} mAP\n")
        print("| observer | " + " | ".join(f"{s} W{b}A{b}" for s, b in columns) + " |")
        print("|---|" + "---|" * len(columns))
        for observer in OBSERVERS:
            found = [cells.values.get(cell_name(model, s, b, observer)) for s, b in columns]
            figures = [f"{100 * f['bbox_mAP']:.1f}" if f else "" for f in found]
            print(f"| {observer} | " + " | ".join(figures) + " |")


if __name__ == "__main__":
    main()
