"""What capturing the units' data costs, in time against one forward and in memory against a budget.

Walks once through all units of a config's detector, as a reconstruction does, but adjusts nothing.
Times are CPU seconds of this process. Memory is what the process has at most, above what it had
before; the activations of the forward under way come on top of the budget.

  python benchmarks/reconstruction/capture.py configs/demo/retinanet_w4a4_qdrop.py --max-gb 0.05 4
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import ROOT, add_images, add_threads, new_parser, run
from given_config import add_data_and_weights, given_config
from markdown_table import head, row
from peak_memory import peak_mb, reset_peak
from timing import timed

from mmptq.engine import CalibrationContext
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.capture import UnitCapture
from mmptq.engine.units.unit_data import CacheSettings
from mmptq.engine.units.units import find_units
from mmptq.registry import STEPS, build
from mmptq.runner import CalibrationRunner


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "config", nargs="?", default=str(ROOT / "configs/demo/retinanet_w4a4_qdrop.py")
    )
    add_data_and_weights(parser)
    add_images(parser, default=64)
    parser.add_argument("--max-gb", nargs="+", type=float, default=[0.05, 4.0])
    add_threads(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        context = make_context(args, folder)
        _, seconds = timed(partial(forward, context), time.process_time)
        print(f"{args.config}, {args.images} images: one forward of all {seconds:.2f} s\n")
        titles = ("units", "capture of one unit, median (most)", "all units", "peak MB")
        print(head(["budget GB", *titles]))
        for budget in args.max_gb:
            print_row(context, budget, seconds)


def print_row(context: CalibrationContext, budget: float, forward: float) -> None:
    """Walk through all units within a budget; times in forwards."""
    idle = restart_peak()
    seconds = walk(context, CacheSettings(max_gb=budget))
    shares = [value / forward for value in seconds]
    one = f"{statistics.median(shares):.2f} ({max(shares):.2f})"
    figures = (f"{sum(shares):.1f}", f"{peak_mb() - idle:.0f}")
    print(row([f"{budget:g}", str(len(shares)), one, *figures]), flush=True)


def walk(context: CalibrationContext, cache: CacheSettings) -> list[float]:
    """Seconds of capturing each unit's float input, quantized input and float output."""
    graph = call_graph(context.model, context.adapter)
    units = find_units(context.model, context.adapter, graph, "block")
    capture = UnitCapture(context, units, graph, cache)
    seconds = []
    for index in range(len(units)):
        begin = time.process_time()
        data = capture.float_data(index)
        capture.add_quantized(index, data)
        seconds.append(time.process_time() - begin)
    return seconds


@torch.no_grad()
def forward(context: CalibrationContext) -> None:
    """One quantized forward of all images."""
    for _, batch in context.data:
        batch = context.model.data_preprocessor(batch, False)
        context.model.start_pass()
        frozen = context.adapter.freeze(batch["inputs"], batch["data_samples"], False)
        context.model.start_pass()
        context.adapter.head_outputs(batch["inputs"], frozen)


def make_context(args: argparse.Namespace, folder: str) -> CalibrationContext:
    """The config's model with MMSE ranges."""
    cfg = given_config(args)
    cfg.work_dir, cfg.log_level = folder, "WARNING"
    cfg.calib_cfg.num_images = args.images
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None, report=None)
    runner = CalibrationRunner.from_cfg(cfg)
    context = runner.setup()
    runner.prepare_model(context)
    build(STEPS, dict(cfg.calib_cfg.steps[0]), "calib_cfg.steps[0]").run(context)
    context.model.eval()
    return context


def restart_peak() -> int:
    """Measure this process's largest memory anew; what it has now, in MB."""
    reset_peak()
    return peak_mb()


if __name__ == "__main__":
    run(main)
