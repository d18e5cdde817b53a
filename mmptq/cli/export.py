r"""Write a quantized model as an ONNX file that a runtime executes in integers, and check it there.

Weights are stored as integers, in 4 bits where they have at most 4. The file is run beside the
simulation: every layer on equal inputs, and whole images. A table tells what was found, and a JSON
file beside the model keeps it.

Examples:
  python tools/export.py configs/demo/retinanet_w8a8_mmse.py \
      work_dirs/demo_retinanet_w8a8_mmse/quantized.pth --target openvino
  python tools/test.py configs/demo/retinanet_w8a8_mmse.py \
      work_dirs/demo_retinanet_w8a8_mmse/quantized.onnx --runtime openvino
"""

import argparse
from pathlib import Path

from mmengine.logging import print_log
from rich.console import Console

from mmptq.engine.data.float_checkpoint import load_checkpoint
from mmptq.errors import ConfigError
from mmptq.export.checks import check_installed
from mmptq.export.kinds import PARTS
from mmptq.runner import MeasuringRunner
from mmptq.runner.calib_dataset import build_dataset
from mmptq.runner.exporting import export
from mmptq.runner.launch import add_common_arguments, load_config
from mmptq.runner.prepare_config import check_measurable, wrap_model
from mmptq.targets import TARGETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    targets = "\n".join(f"  {t.name:12} {t.summary}" for t in TARGETS.values())
    parser.epilog = f"targets:\n{targets}"
    parser.add_argument("config", help="the config that the checkpoint was made with")
    parser.add_argument("checkpoint", help="quantized.pth")
    parser.add_argument("--target", choices=list(TARGETS), default="openvino", help="runtime")
    parser.add_argument(
        "--part",
        choices=list(PARTS),
        help="detector: images to boxes, scores and labels (the default); heads: to the raw "
        "outputs of a detector of one stage; classifier: to logits",
    )
    parser.add_argument("--output", type=Path, help="default: beside the checkpoint, as .onnx")
    parser.add_argument(
        "--static", action="store_true", help="fix the images' number and size to the first one's"
    )
    parser.add_argument(
        "--images", type=int, default=4, help="test images that it is checked on (default: 4)"
    )
    add_common_arguments(parser)


def main(args: argparse.Namespace) -> None:
    if args.images < 1:
        raise ConfigError(f"--images {args.images}: must be a whole number from 1")
    target = TARGETS[args.target]
    check_installed(target)
    cfg = load_config(args)
    check_measurable(cfg)
    wrap_model(cfg)
    cfg.load_from = None
    runner = MeasuringRunner.from_cfg(cfg)
    runner.build_test(build_dataset(cfg.test_dataloader["dataset"], "the test set"))
    load_checkpoint(runner.model, args.checkpoint, cfg.get("checkpoint_key"))
    path = args.output or Path(args.checkpoint).with_suffix(".onnx")
    found = export(runner, path, target, args.part, args.static, args.images)
    Console().print(found.table())
    found.raise_for_differences()
    print_log(str(path))
