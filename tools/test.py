"""Evaluate a checkpoint, quantized or float, with the config it belongs to.

Examples:
  python tools/test.py configs/demo/retinanet_w4a4_mmse.py work_dirs/demo/quantized.pth
  python tools/test.py configs/retinanet/r50_w4a4.py quantized.pth --data-root data/coco
"""

import argparse
import json
import sys

from mmptq.engine.data.float_checkpoint import load_checkpoint
from mmptq.errors import MmptqError
from mmptq.fileio import atomic_write
from mmptq.runner import MeasuringRunner
from mmptq.runner.calib_dataset import build_dataset
from mmptq.runner.launch import add_common_arguments, init_processes, load_config
from mmptq.runner.prepare_config import check_measurable, wrap_model


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config that the checkpoint was made with")
    parser.add_argument("checkpoint", help="quantized.pth, or the float checkpoint")
    parser.add_argument("--out", help="write the metrics to this JSON file")
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    check_measurable(cfg)
    wrap_model(cfg)
    # MMEngine's own loader refuses what it does not know and passes over what is missing.
    cfg.load_from = None
    init_processes(args.launcher)
    runner = MeasuringRunner.from_cfg(cfg)
    runner.build_test(build_dataset(cfg.test_dataloader["dataset"], "the test set"))
    load_checkpoint(runner.model, args.checkpoint, cfg.get("checkpoint_key"))
    metrics = runner.test()
    if args.out and runner.rank == 0:
        with atomic_write(args.out) as file:
            file.write(json.dumps(metrics, indent=1).encode())


if __name__ == "__main__":
    try:
        main()
    except (MmptqError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
