"""Evaluate a checkpoint, quantized or float, or an exported model, with the config it belongs to.

An exported model (tools/export.py) is computed by a runtime; preprocessing, post-processing and the
evaluator are the config's own.

Examples:
  python tools/test.py configs/demo/retinanet_w4a4_mmse.py work_dirs/demo/quantized.pth
  python tools/test.py configs/retinanet/r50_w4a4.py quantized.pth --data-root data/coco
  python tools/test.py configs/retinanet/r50_w4a4.py quantized.onnx --runtime openvino
"""

import argparse
from pathlib import Path

from mmengine.logging import print_log

from mmptq.engine.data.float_checkpoint import load_checkpoint
from mmptq.errors import ConfigError
from mmptq.fileio import save_json
from mmptq.runner import MeasuringRunner
from mmptq.runner.calib_dataset import build_dataset
from mmptq.runner.launch import add_common_arguments, init_processes, load_config
from mmptq.runner.prepare_config import check_measurable, wrap_model
from mmptq.runner.runtime_test import test_session
from mmptq.runtime import RUNTIMES, Session, open_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="the config that the checkpoint was made with")
    parser.add_argument(
        "checkpoint", help="quantized.pth, the float checkpoint, or an exported .onnx file"
    )
    parser.add_argument("--runtime", choices=list(RUNTIMES), help="executes an .onnx file")
    parser.add_argument("--threads", type=int, help="of the runtime (default: its own choice)")
    parser.add_argument("--out", help="write the metrics to this JSON file")
    add_common_arguments(parser)


def open_exported(args: argparse.Namespace) -> Session | None:
    """The exported model, if the checkpoint is one.

    Raises:
        ConfigError: It is one and no runtime is named, or the other way round.
    """
    exported = Path(args.checkpoint).suffix == ".onnx"
    if exported and not args.runtime:
        choice = " or ".join(f"--runtime {name}" for name in RUNTIMES)
        raise ConfigError(f"{args.checkpoint} is exported: name what executes it, {choice}")
    if args.runtime and not exported:
        raise ConfigError(
            f"--runtime {args.runtime} executes .onnx files, not {args.checkpoint}: export it by "
            "tools/export.py"
        )
    return open_session(args.checkpoint, args.runtime, args.threads) if exported else None


def main(args: argparse.Namespace) -> None:
    session = open_exported(args)
    cfg = load_config(args)
    check_measurable(cfg)
    wrap_model(cfg)
    # MMEngine's own loader refuses what it does not know and passes over what is missing.
    cfg.load_from = None
    init_processes(args.launcher)
    runner = MeasuringRunner.from_cfg(cfg)
    runner.build_test(build_dataset(cfg.test_dataloader["dataset"], "the test set"))
    if session is None:
        load_checkpoint(runner.model, args.checkpoint, cfg.get("checkpoint_key"))
        metrics = runner.test()
    else:
        metrics, seconds = test_session(runner.model.model, session, runner.test)
        print_log(f"{args.runtime}: {1000 * seconds:.1f} ms an image")
        metrics[f"{args.runtime}/ms"] = 1000 * seconds
    if args.out and runner.rank == 0:
        save_json(args.out, metrics, "--out")
