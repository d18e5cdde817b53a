r"""Pack a quantized checkpoint: integer codes in place of float weights, everything in one blob.

Nothing is computed anew. The packed file opens wherever the other one does (tools/test.py,
tools/export.py, MMDetection's own tools), to the same outputs, bit for bit.
`tools/quantize.py --packed` writes it at once.

Example:
  python tools/pack.py configs/demo/retinanet_w8a8_mmse.py \
      work_dirs/demo_retinanet_w8a8_mmse/quantized.pth
"""

import argparse
from pathlib import Path

from mmengine.logging import print_log

from mmptq.engine.data.checkpoint_reader import read_meta
from mmptq.engine.data.float_checkpoint import load_checkpoint
from mmptq.errors import CheckpointError
from mmptq.hooks.save import save_checkpoint
from mmptq.runner.launch import add_common_arguments, load_config
from mmptq.runner.prepare_config import check_measurable, wrap_model
from mmptq.runner.random_model import wrapped_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="the config that the checkpoint was made with")
    parser.add_argument("checkpoint", help="quantized.pth")
    parser.add_argument("--output", type=Path, help="default: beside it, as quantized_packed.pth")
    add_common_arguments(parser)


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args)
    check_measurable(cfg)
    wrap_model(cfg)
    model = wrapped_model(cfg)
    load_checkpoint(model, args.checkpoint, cfg.get("checkpoint_key"))
    if model.plan is None:
        raise CheckpointError(
            f"{args.checkpoint} is not quantized: give quantized.pth, which tools/quantize.py "
            "writes"
        )
    source = Path(args.checkpoint)
    path = args.output or source.with_name(f"{source.stem}_packed{source.suffix}")
    save_checkpoint(path, model, read_meta(args.checkpoint), packed=True)
    print_log(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
