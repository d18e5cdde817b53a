"""Which ranges a user should get who asks for nothing: every observer, with and without what mends.

One cell is one run of the product: a model, bit-widths, an observer, and a variant: one range a
tensor (`plain`) or one a channel where depthwise layers read (`channels`), each also with
`Equalization` before it and measured `BiasCorrection` or `GPTQ` behind it. Cells that the JSON file
holds are not measured again; several processes may share it (--models for each).

--data is a folder that holds bccd/, cifar10/, coco_subset/, coco_val416/, yolox_nano/, deeppcb/.

  python benchmarks/default_recipe.py --data data --models yolox_nano --columns W8A8
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from arguments import ROOT, add_cells, new_parser
from cells import Cells
from mmengine.config import Config
from silence import quiet

from mmptq.runner import CalibrationRunner
from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import complete_config, set_data_root


class Model(NamedTuple):
    """A float model and its data, below ``--data`` but for what the repository holds.

    ``test`` replaces the root of the test set alone: nothing is calibrated on it.
    """

    title: str
    config: str
    checkpoint: str
    data: str | None
    metric: str = "bbox_mAP"
    test: str | None = None


MODELS = {
    "yolox_nano": Model(
        "YOLOX-Nano, COCO",
        "mmdet::yolox/yolox_nano_8xb8-300e_coco.py",
        "yolox_nano/yolox_nano_coco.pth",
        "coco_subset",
        test="coco_val416",
    ),
    "bccd_retinanet": Model(
        "RetinaNet-R18, BCCD",
        "configs/bccd/retinanet_r18_w8a8_mmse.py",
        "bccd/retinanet_r18_bccd.pth",
        "bccd",
    ),
    "bccd_faster_rcnn": Model(
        "Faster R-CNN-R18, BCCD",
        "configs/bccd/faster_rcnn_r18_w8a8_mmse.py",
        "bccd/faster-rcnn_r18_bccd.pth",
        "bccd",
    ),
    "demo_retinanet": Model(
        "RetinaNet, demo",
        "configs/demo/retinanet_w8a8_mmse.py",
        "checkpoints/demo/retinanet_digits.pth",
        None,
    ),
    "demo_faster_rcnn": Model(
        "Faster R-CNN, demo",
        "configs/demo/faster_rcnn_w8a8_mmse.py",
        "checkpoints/demo/faster_rcnn_digits.pth",
        None,
    ),
    "deeppcb_retinanet": Model(
        "RetinaNet-MobileNetV2, DeepPCB",
        "deeppcb/configs/retinanet_mobilenetv2.py",
        "deeppcb/retinanet_mobilenetv2_deeppcb.pth",
        "deeppcb",
    ),
    "deeppcb_faster_rcnn": Model(
        "Faster R-CNN-MobileNetV2, DeepPCB",
        "deeppcb/configs/faster_rcnn_mobilenetv2.py",
        "deeppcb/faster_rcnn_mobilenetv2_deeppcb.pth",
        "deeppcb",
    ),
    "resnet20": Model(
        "ResNet-20, CIFAR-10",
        "configs/classification/resnet20_cifar10_w4a4_mmse.py",
        "cifar10/resnet20.pth",
        "cifar10",
        "top1",
    ),
}
COLUMNS = {"W8A8": (8, 8), "W6A6": (6, 6), "W4A8": (4, 8), "W4A4": (4, 4)}
OBSERVERS: dict[str, dict[str, Any]] = {
    "minmax": dict(type="MinMaxObserver"),
    "percentile": dict(type="PercentileObserver", percentile=99.99),
    "mmse": dict(type="LpNormObserver", p=2.0),
    "l2.4": dict(type="LpNormObserver", p=2.4),
    "kl": dict(type="KLObserver"),
}
# qconfig.act.per_channel, steps before the ranges, steps behind them.
Variant = tuple[str, list[dict[str, Any]], list[dict[str, Any]]]
EQUALIZE = dict(type="Equalization")
CORRECT = dict(type="BiasCorrection", mode="measured")
VARIANTS: dict[str, Variant] = {
    "plain": ("none", [], []),
    "bias": ("none", [], [CORRECT]),
    "equalization": ("none", [EQUALIZE], []),
    "channels": ("depthwise", [], []),
    "channels+bias": ("depthwise", [], [CORRECT]),
    "channels+equalization": ("depthwise", [EQUALIZE], []),
    "channels+gptq": ("depthwise", [], [dict(type="GPTQ")]),
    "channels+equalization+bias": ("depthwise", [EQUALIZE], [CORRECT]),
}


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    for name, known in (
        ("models", MODELS),
        ("columns", COLUMNS),
        ("observers", OBSERVERS),
        ("variants", VARIANTS),
    ):
        parser.add_argument(f"--{name}", nargs="+", choices=list(known), default=list(known))
    parser.add_argument("--images", type=int, default=32, help="calibration images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="which ones")
    add_cells(parser, "default_recipe")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        for model in args.models:
            cells.measure(model, partial(measure_float, args, MODELS[model]))
            for seed in args.seeds:
                for column in args.columns:
                    measure_column(cells, args, model, column, seed)
    print_tables(cells, args)


def measure_column(
    cells: Cells, args: argparse.Namespace, model: str, column: str, seed: int
) -> None:
    for variant in args.variants:
        for observer in args.observers:
            name = cell_name(model, column, observer, variant, seed)
            new = name not in cells.values
            compute = partial(measure_cell, args, MODELS[model], column, observer, variant, seed)
            figures = cells.measure(name, compute)
            if new:
                print(name, figures, flush=True)


def cell_name(model: str, column: str, observer: str, variant: str, seed: int) -> str:
    return "/".join((model, column, observer, variant, f"seed{seed}"))


def measure_float(args: argparse.Namespace, model: Model) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as work_dir:
        runner = make_runner(args, model, "W8A8", "minmax", "plain", 0, work_dir)
        runner.setup()
        with quiet():
            return {"metric": main_metric(runner.evaluate("float"), model)}


def measure_cell(
    args: argparse.Namespace, model: Model, column: str, observer: str, variant: str, seed: int
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as work_dir, quiet():
        runner = make_runner(args, model, column, observer, variant, seed, work_dir)
        row = runner.calibrate().rows[-1]
    return {"metric": main_metric(row.metrics, model), "seconds": round(row.seconds, 1)}


def main_metric(metrics: dict[str, float], model: Model) -> float:
    """In percent."""
    value = {name.rpartition("/")[2]: v for name, v in metrics.items()}.get(model.metric, 0.0)
    return round(value if model.metric == "top1" else 100 * value, 2)


def make_runner(
    args: argparse.Namespace,
    model: Model,
    column: str,
    observer: str,
    variant: str,
    seed: int,
    work_dir: str,
) -> CalibrationRunner:
    cfg = read_model_config(args.data, model, work_dir)
    granularity, before, behind = VARIANTS[variant]
    weight_bits, act_bits = COLUMNS[column]
    cfg.qconfig = dict(
        scope="full",
        weight=dict(num_bits=weight_bits),
        act=dict(num_bits=act_bits, per_channel=granularity),
    )
    ranges = dict(type="RangeCalibration", weight=OBSERVERS[observer], act=OBSERVERS[observer])
    cfg.calib_cfg = dict(
        method=f"{observer}-{variant}",
        num_images=args.images,
        seed=seed,
        baseline=False,
        eval_float=False,
        steps=[*before, ranges, *behind],
    )
    complete_config(cfg)
    return CalibrationRunner.from_cfg(cfg)


def read_model_config(data: Path, model: Model, work_dir: str) -> Config:
    """The config of ``model`` on its data, silent, for a run in ``work_dir``; not yet complete."""
    cfg = read_config(str(find(data, model.config)))
    if model.data is not None:
        set_data_root(cfg, str(data / model.data))
    if model.test is not None:
        set_test_root(cfg, data / model.test)
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None)
    cfg.load_from = str(find(data, model.checkpoint))
    cfg.work_dir, cfg.launcher, cfg.log_level = work_dir, "none", "WARNING"
    # MMEngine keeps loggers and visualizers by name for the whole process.
    cfg.experiment_name = Path(work_dir).name
    cfg.visualizer = {**cfg.get("visualizer", {}), "name": cfg.experiment_name}
    return cfg


def find(data: Path, name: str) -> Path | str:
    """What the repository has, or a package, or else ``data``."""
    if "::" in name:
        return name
    return ROOT / name if (ROOT / name).exists() else data / name


def set_test_root(cfg: Config, root: Path) -> None:
    """Read the test images below ``root``."""
    cfg.test_dataloader.dataset.data_root = str(root)
    evaluator = cfg.test_evaluator
    evaluator.ann_file = str(root / cfg.test_dataloader.dataset.ann_file)


def print_tables(cells: Cells, args: argparse.Namespace) -> None:
    """Markdown: for each model, the difference to float of each cell (mean over the seeds)."""
    for model in args.models:
        if model not in cells.values:
            continue
        target = cells.values[model]["metric"]
        print(f"\n**{MODELS[model].title}**, float {target:.1f}\n")
        heads = [f"{column} {observer}" for column in args.columns for observer in args.observers]
        print("| | " + " | ".join(heads) + " |")
        print("|---|" + "---|" * len(heads))
        for variant in args.variants:
            row = [
                difference(cells, target, model, column, observer, variant)
                for column in args.columns
                for observer in args.observers
            ]
            if any(row):
                print(f"| {variant} | " + " | ".join(row) + " |")


def difference(cells: Cells, target: float, *cell: str) -> str:
    start = "/".join(cell) + "/"
    found = [v["metric"] for k, v in cells.values.items() if k.startswith(start)]
    return f"{sum(found) / len(found) - target:+.1f}" if found else ""


if __name__ == "__main__":
    main()
