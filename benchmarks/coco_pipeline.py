"""Time and peak memory of calibrating R50 detectors at COCO's input size on a COCO-form set.

The weights are random (no download), so no mAP is printed: it would mean nothing. Everything else
is the real path: COCO annotations with their original ids, 80 classes, images at 800x1333.

  python benchmarks/coco_pipeline.py --data-root data/coco --images 16
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmptq.algorithms import RangeCalibration
from mmptq.runner import CalibrationRunner
from mmptq.runner.prepare_config import set_data_root

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", default="configs/retinanet/r50_w4a4.py")
    parser.add_argument("--data-root", required=True, help="COCO layout, or a part of it")
    parser.add_argument("--images", type=int, default=16, help="calibration images")
    parser.add_argument("--evaluate", action="store_true", help="run the COCO evaluation as well")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cfg = make_config(args, Path(folder))
        start = time.perf_counter()
        runner = CalibrationRunner.from_cfg(cfg)
        context = runner.setup()
        loaded, memory = time.perf_counter(), peak_gib()
        runner.prepare_model(context)
        collected = time.perf_counter()
        mse = {"type": "LpNormObserver", "p": 2.0}
        RangeCalibration(weight=mse, act=mse).run(context)
        calibrated = time.perf_counter()
        print(f"\n{torch.get_num_threads()} threads")
        print(f"model, plan, images, profile: {loaded - start:.1f} s, peak {memory:.2f} GiB\n")
        print("| config | images | activation statistics s | MMSE ranges s | peak GiB |")
        print("|---|---|---|---|---|")
        seconds = f"{collected - loaded:.1f} | {calibrated - collected:.1f}"
        print(f"| `{args.config}` | {args.images} | {seconds} | {peak_gib():.2f} |\n")
        if args.evaluate:
            start = time.perf_counter()
            runner.evaluate("mmse")
            print(f"COCO evaluation              : {time.perf_counter() - start:7.1f} s")


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
    """Largest resident set so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
