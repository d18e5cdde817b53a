"""LAPQ's tables on any detector config: metric and losses of each cell.

    --table steps  baselines, and LAPQ after each of its steps
    --table 1      methods x bit-widths (the paper's Tables 1 and C.1)
    --table 3      random, layer-wise, layer-wise and quadratic start, before and after the search
    --table 4      bias correction, on MMSE and on LAPQ
    --table B.2    LAPQ over the number of calibration images

A cell holds the mAP on the validation set, the loss on the calibration images and on other images
of the training set (of which the search sees none), and the recipe's time, evaluations of the loss
and peak memory of the process. --detail adds the AP of each class and the mAP on the whole training
set, where a small validation set leaves open which of two models is nearer to the float one. Cells
that the JSON file holds are not measured again, and a search that was killed goes on, so the
command may be stopped and started at will. It prints the table as far as it is known; with --detail
or several --seeds, the mAP of each seed and the means.

    python benchmarks/lapq/tables.py configs/demo/retinanet_w4a4_lapq.py --table 3 --images 16
"""

import argparse
import contextlib
import copy
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmptq.engine import CalibrationContext, CalibrationSet, LossEvaluator
from mmptq.registry import STEPS, build
from mmptq.runner import CalibrationRunner
from mmptq.runner.calib_dataset import build_dataset, calibration_dataset_cfg
from mmptq.runner.prepare_config import set_data_root

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import ROOT, add_cells, new_parser  # noqa: E402
from cells import Cells  # noqa: E402
from lapq.printing import cell_name, model_name, print_choices, print_table  # noqa: E402
from peak_memory import peak_mb, reset_peak  # noqa: E402

BASELINES = ("minmax", "mmse", "kl", "aciq")
STARTS = ("random", "lw", "lw+qa")
ROWS = {
    "steps": (*BASELINES, "lw", "lw+qa", "lw+qa+joint", "lw+qa+joint+bc"),
    "1": (*BASELINES, "lw+qa+joint"),
    "3": tuple(f"{start}{joint}" for start in STARTS for joint in ("", "+joint")),
    "4": ("mmse", "bc+mmse", "lw+qa+joint", "bc+lw+qa+joint"),
    "B.2": ("lw+qa+joint",),
}
BITS = {"1": ("8/4", "8/3", "4/4", "8/2", "32/4", "4/32")}
METRIC = "bbox_mAP"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("config", help="any config of tools/quantize.py")
    parser.add_argument("--table", choices=ROWS, required=True)
    parser.add_argument("--checkpoint", help="float weights (default: the config's load_from)")
    parser.add_argument("--data-root", help="replaces the config's data_root")
    parser.add_argument("--calibration", help="config with another calib_dataloader")
    parser.add_argument("--scope", default="lapq_paper")
    parser.add_argument("--bits", nargs="+", help="weights/activations, e.g. 4/4 8/2")
    parser.add_argument("--rows", nargs="+", help="some of the table's rows")
    parser.add_argument("--images", nargs="+", type=int, help="calibration images")
    parser.add_argument(
        "--others", type=int, default=48, help="other training images to compare on"
    )
    parser.add_argument(
        "--detail", action="store_true", help="AP of each class and mAP on the training set, too"
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0], help="choices of the calibration images"
    )
    parser.add_argument("--objective", default="TaskLoss")
    parser.add_argument("--optimizer", default="Powell")
    parser.add_argument("--group", default="tensor")
    parser.add_argument("--bounds", nargs=2, type=float, help="of the search's multipliers")
    parser.add_argument("--max-iters", type=int, default=1)
    parser.add_argument("--max-evals", type=int)
    parser.add_argument("--held-out", type=float, default=0.0, help="share that confirms the moves")
    parser.add_argument("--cache-gb", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    add_cells(parser, "lapq")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/lapq_tables"))
    args = parser.parse_args(argv)
    args.rows = args.rows or ROWS[args.table]
    args.bits = args.bits or BITS.get(args.table, ("4/4",))
    args.images = args.images or ((8, 16, 32, 64) if args.table == "B.2" else (32,))
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    cells = Cells(args.json)
    choices = [argparse.Namespace(**vars(args), seed=seed) for seed in args.seeds]
    for choice in () if args.print_only else choices:
        for bits in args.bits:
            for images in args.images:
                measure(cells, choice, bits, images)
    if len(choices) > 1 or args.detail:
        print_choices(cells, choices)
    else:
        print_table(cells, choices[0])


def measure(cells: Cells, args: argparse.Namespace, bits: str, images: int) -> None:
    """All rows at one bit-width and number of images: the statistics are collected once."""
    names = {cell_name(args, row, bits, images): row for row in ("float", *args.rows)}
    if all(name in cells.values for name in names):
        return
    bench = Bench(args, bits, images)
    for name, row in names.items():
        if name not in cells.values:
            print(f"{name}: {cells.measure(name, partial(bench.figures, row))}", flush=True)


class Bench:
    """One model at one bit-width, with what measures it."""

    def __init__(self, args: argparse.Namespace, bits: str, images: int) -> None:
        self.args, self.images = args, images
        self.runner = make_runner(args, bits, images)
        self.context = self.runner.setup()
        self.runner.prepare_model(self.context)

    @cached_property
    def evaluators(self) -> dict[str, LossEvaluator]:
        """Of the loss on the calibration images and on others of the training set."""
        make = partial(
            LossEvaluator,
            objective={"type": self.args.objective},
            incremental=False,
            cache_gb=self.args.cache_gb,
        )
        total = self.images + self.args.others
        dataset = build_dataset(calibration_dataset_cfg(self.runner.cfg), "the training set")
        folder, context = self.context.store.folder, self.context
        more = CalibrationSet(dataset, total, self.runner.settings.seed, 1.0, folder)
        others = CalibrationContext(
            context.model, context.adapter, more, context.store, context.track
        )
        positions = range(self.images, total)
        return {"loss": make(context), "others": make(others, positions=positions)}

    def figures(self, row: str) -> dict[str, Any]:
        """Run a recipe on the model and measure it."""
        for _, layer in self.context.model.quant_layers():
            layer.set_weight_correction(None)
        if row == "float":
            for quantizer in self._quantizers():
                quantizer.enabled = False
            return self._measured(row)
        reset_peak()
        seconds, evaluations = 0.0, 0
        for config in recipe(self.args, row):
            step, start = build(STEPS, config, row), time.perf_counter()
            step.run(self.context)
            report = getattr(step, "report", None)  # of a search, which may be one that went on
            seconds += report.seconds if report else time.perf_counter() - start
            evaluations += report.evaluations if report else 0
        cost = {"seconds": round(seconds, 1), "evaluations": evaluations, "peak_mb": peak_mb()}
        return {**self._measured(row), **cost}

    def _measured(self, row: str) -> dict[str, Any]:
        losses = {name: round(evaluate(), 5) for name, evaluate in self.evaluators.items()}
        found = quietly(partial(self.runner.evaluate, row))
        cell = {"metric": metric(found), **losses}
        if self.args.detail:
            loop = self.runner.build_test_loop(training_loop(self.runner.cfg))
            cell["training_metric"] = metric(quietly(loop.run))
            cell["classes"] = class_metrics(found)
        return cell

    def _quantizers(self) -> list[Any]:
        model = self.context.model
        return [*model.weight_quantizers().values(), *model.sites.values()]


def recipe(args: argparse.Namespace, row: str) -> list[dict[str, Any]]:
    """Steps of a row: its parts, joined by ``+``."""
    objective, budget = {"type": args.objective}, {"cache_gb": args.cache_gb}
    path = dict(type="LpInterpolation", objective=objective, **budget)
    parts = {
        "bc": dict(type="BiasCorrection"),
        "random": dict(type="RandomRanges"),
        "lw": {**path, "interpolate": False},
        "lw+qa": path,
        "joint": dict(
            type="JointSearch",
            objective=objective,
            optimizer=args.optimizer,
            group=args.group,
            max_iters=args.max_iters,
            max_evals=args.max_evals,
            held_out=args.held_out,
            **({"bounds": tuple(args.bounds)} if args.bounds else {}),
            **budget,
        ),
    }
    steps: list[dict[str, Any]] = []
    for part in re.findall(r"lw\+qa|[^+]+", row):
        if part in BASELINES:
            file = ROOT / f"configs/_base_/calib/{part}.py"
            steps += Config.fromfile(file).calib_cfg.to_dict()["steps"]
        else:
            steps.append(parts[part])
    return steps


def make_runner(args: argparse.Namespace, bits: str, images: int) -> CalibrationRunner:
    cfg = Config.fromfile(args.config)
    if args.calibration:
        cfg.merge_from_dict(Config.fromfile(args.calibration).to_dict())
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
    cfg.calib_cfg.num_images, cfg.calib_cfg.seed = images, args.seed
    if args.detail:
        cfg.test_evaluator.classwise = True
    name = f"{model_name(args)}_{args.scope}_w{weight}a{act}_{images}_{args.seed}"
    name += "_detail" if args.detail else ""  # stages depend on what the evaluator measures
    cfg.work_dir, cfg.launcher, cfg.resume = str(args.work_dir / name), "none", True
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None)
    cfg.log_level = "WARNING"
    # MMEngine keeps loggers and visualizers by name for the whole process.
    cfg.experiment_name = cfg.visualizer.name = name
    return CalibrationRunner.from_cfg(cfg)


def training_loop(cfg: Config) -> dict[str, Any]:
    """A test loop over the training images, under the test pipeline."""
    loader, evaluator = copy.deepcopy((cfg.test_dataloader, cfg.test_evaluator))
    train = calibration_dataset_cfg(cfg)
    loader.dataset = {**train, "pipeline": loader.dataset.pipeline, "test_mode": True}
    evaluator.ann_file = str(Path(train["data_root"]) / train["ann_file"])
    return dict(type="TestLoop", dataloader=loader, evaluator=evaluator)


def quietly(evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Metrics without their evaluator's name, and without pycocotools' prints."""
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        return {key.rpartition("/")[2]: value for key, value in evaluate().items()}


def metric(found: dict[str, float]) -> float:
    """Box mAP or top-1 in percent."""
    # A classifier's accuracy is in percent already.
    return round(found["top1"] if "top1" in found else 100.0 * found[METRIC], 2)


def class_metrics(found: dict[str, float]) -> dict[str, float]:
    """AP of each class in percent."""
    suffix = "_precision"
    classes = (key for key in found if key.endswith(suffix))
    return {key.removesuffix(suffix): round(100.0 * found[key], 1) for key in classes}


if __name__ == "__main__":
    main()
