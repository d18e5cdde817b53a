"""Seconds per image of the fake-quantized forward over the float one, side by side in one run.

Float and quantized forwards alternate image by image, so both see the same load of the machine; the
ratio is that of the medians. Random weights: speed does not depend on them. The forward is
backbone, neck and heads (``mode='tensor'`` without post-processing, whose cost depends on how many
boxes survive).

  python benchmarks/forward_speed.py                              # the demo and R18/R50 detectors
  python benchmarks/forward_speed.py configs/retinanet/r50_w4a4.py --shape 800 1344
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from arguments import ROOT, add_threads, new_parser
from markdown_table import head, row
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from timing import in_turns

from mmptq.adapters import find_adapter
from mmptq.evaluation import nominal_shape
from mmptq.models import QConfig, QuantModel

DEFAULT_CONFIGS = (
    "configs/demo/retinanet_w4a4_mmse.py",
    "configs/demo/faster_rcnn_w4a4_mmse.py",
    "configs/bccd/retinanet_r18_w4a4_mmse.py",
    "configs/bccd/faster_rcnn_r18_w4a4_mmse.py",
)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("configs", nargs="*", default=[str(ROOT / c) for c in DEFAULT_CONFIGS])
    parser.add_argument("--shape", nargs=2, type=int, metavar=("H", "W"), help="default: config's")
    parser.add_argument("--repeats", type=int, default=15)
    add_threads(parser, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope("mmdet")
    print(f"{args.threads} threads, {args.repeats} forwards each, medians\n")
    print(head(["config", "input", "float s", "quantized s", "ratio"]))
    for path in args.configs:
        cfg = Config.fromfile(path)
        shape = tuple(args.shape) if args.shape else nominal_shape(cfg)
        float_s, quantized_s = compare(cfg, shape, args.repeats)
        name = str(Path(path).resolve().relative_to(ROOT))
        figures = (f"{float_s:.4f}", f"{quantized_s:.4f}", f"{quantized_s / float_s:.2f}")
        print(row([name, f"{shape[1]}x{shape[0]}", *figures]))


def compare(cfg: Config, shape: tuple[int, ...], repeats: int) -> tuple[float, float]:
    """Median seconds of the float and of the quantized model."""
    runs = [make_run(cfg, shape, quantized) for quantized in (False, True)]
    float_s, quantized_s = (statistics.median(seconds) for seconds in in_turns(runs, repeats))
    return float_s, quantized_s


def make_run(cfg: Config, shape: tuple[int, ...], quantized: bool) -> Callable[[], object]:
    """A forward of the float model, or of the prepared one with all quantizers on."""
    torch.manual_seed(0)
    model: QuantModel = MODELS.build(cfg.model).eval()
    adapter = find_adapter(model.model)
    if quantized:
        model.prepare(adapter.plan(QConfig.parse(cfg.qconfig)))
        for _, layer in model.quant_layers():
            if layer.weight_quantizer is not None:
                set_range(layer.weight_quantizer, layer.weight.detach().abs().max())
        for quantizer in model.sites.values():
            set_range(quantizer, torch.tensor(3.0))
    image = torch.randn(1, 3, *shape)

    def run() -> object:
        model.start_pass()
        with torch.no_grad():
            return adapter.raw_outputs(image)

    return run


def set_range(quantizer: torch.nn.Module, clip: torch.Tensor) -> None:
    high = clip.expand_as(quantizer.scale).clone()
    quantizer.set_range(-high, high)


if __name__ == "__main__":
    main()
