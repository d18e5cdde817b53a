"""Time and peak memory of calibrating R50 detectors at COCO's input size on a COCO-form set.

The weights are random (no download), so no mAP is printed: it would mean nothing. Everything else
is the real path: COCO annotations with their original ids, 80 classes, images at 800x1333.

  python benchmarks/coco_pipeline.py --data-root data/coco --images 16
"""

import argparse
import tempfile
from pathlib import Path

import torch
from arguments import add_images, new_parser
from markdown_table import head, row
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from peak_memory import peak_bytes
from timing import timed

from mmptq.algorithms import RangeCalibration
from mmptq.engine import CalibrationContext
from mmptq.runner import CalibrationRunner
from mmptq.runner.prepare_config import set_data_root


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("config", nargs="?", default="configs/retinanet/r50_w4a4.py")
    parser.add_argument("--data-root", required=True, help="COCO layout, or a part of it")
    add_images(parser, default=16)
    parser.add_argument("--evaluate", action="store_true", help="run the COCO evaluation as well")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cfg = make_config(args, Path(folder))
        (runner, context), setup_s = timed(lambda: set_up(cfg))
        memory = peak_gib()
        _, collect_s = timed(lambda: runner.prepare_model(context))
        mse = {"type": "LpNormObserver", "p": 2.0}
        _, ranges_s = timed(lambda: RangeCalibration(weight=mse, act=mse).run(context))
        print(f"\n{torch.get_num_threads()} threads")
        print(f"model, plan, images, profile: {setup_s:.1f} s, peak {memory:.2f} GiB\n")
        print(head(["config", "images", "activation statistics s", "MMSE ranges s", "peak GiB"]))
        seconds = (f"{value:.1f}" for value in (collect_s, ranges_s))
        print(row([f"`{args.config}`", str(args.images), *seconds, f"{peak_gib():.2f}"]) + "\n")
        if args.evaluate:
            _, evaluate_s = timed(lambda: runner.evaluate("mmse"))
            print(f"COCO evaluation              : {evaluate_s:7.1f} s")


def set_up(cfg: Config) -> tuple[CalibrationRunner, CalibrationContext]:
    runner = CalibrationRunner.from_cfg(cfg)
    return runner, runner.setup()


def make_config(args: argparse.Namespace, folder: Path) -> Config:
    """The config on ``--data-root`` with random weights as its checkpoint."""
    cfg = Config.fromfile(args.config)
    set_data_root(cfg, args.data_root)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    checkpoint = folder / "random.pth"
    torch.save(MODELS.build(cfg.model).model.state_dict(), checkpoint)
    cfg.load_from, cfg.work_dir = str(checkpoint), str(folder / "work")
    cfg.calib_cfg.num_images = args.images
    return cfg


def peak_gib() -> float:
    """Largest resident set so far."""
    return peak_bytes() / 2**30


if __name__ == "__main__":
    main()
