"""Seconds of an iteration on crops over those on whole maps, unit by unit, side by side in one run.

One iteration (forward, backward and gradients of all that Bit-shrinking learns) on whole maps and
one on crops alternate, so both see the same load of the machine. Weights and images are random:
speed does not depend on them. Times are CPU seconds of all threads.

  python benchmarks/reconstruction/crops.py configs/retinanet/r50_w4a4.py --shape 800 1333
  python benchmarks/reconstruction/crops.py configs/yolox/nano_w4a8.py --shape 416 416 --batch 8
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import add_threads, new_parser
from markdown_table import head, row
from random_images import RandomImages
from silence import untracked
from timing import timed

from mmptq.adapters import find_adapter
from mmptq.algorithms import BitShrinking, RangeCalibration
from mmptq.engine import CalibrationContext, StageStore
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.storage.memory import keep_freed_memory
from mmptq.engine.units.capture import UnitCapture
from mmptq.engine.units.reconstruction import Policy, UnitLoop
from mmptq.engine.units.unit_data import CacheSettings, UnitData
from mmptq.engine.units.unit_problem import UnitProblem
from mmptq.engine.units.units import Unit, find_units
from mmptq.models import QConfig


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("config")
    parser.add_argument("--shape", nargs=2, type=int, metavar=("H", "W"), required=True)
    parser.add_argument("--crop", type=int, default=48, help="outputs a side")
    parser.add_argument("--batch", type=int, default=1, help="images in a mini-batch")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--units", type=int, help="only so many, from the first on")
    add_threads(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        context = make_context(args, folder)
        print(f"{args.config}, {args.batch} x {args.shape}, crops of {args.crop}\n")
        print(head(["unit", "whole s", "crop s", "ratio", "data"]))
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for name, note, whole, crop in seconds(context, args):
            print_row(name, whole, crop, note)
            stage = ".".join(name.split(".")[:2])
            for key in (stage, "all"):
                sums[key] = [sums[key][0] + whole, sums[key][1] + crop]
        print("\n| part | whole s | crop s | ratio | |\n|---|---|---|---|---|")
        for name, (whole, crop) in sums.items():
            print_row(name, whole, crop, "")


def print_row(name: str, whole: float, crop: float, note: str) -> None:
    """Seconds of an iteration and their ratio."""
    figures = (f"{whole:.3f}", f"{crop:.3f}", f"{whole / crop:.2f}")
    print(row([name, *figures, note]), flush=True)


def seconds(
    context: CalibrationContext, args: argparse.Namespace
) -> Iterator[tuple[str, str, float, float]]:
    """Name, form of the data, and medians on whole maps and on crops, of each unit."""
    model = context.model
    for param in model.parameters():
        param.requires_grad_(False)
    graph = call_graph(model, context.adapter)
    units = find_units(model, context.adapter, graph, "block")
    captures = [
        UnitCapture(context, units, graph, CacheSettings(), crop=crop) for crop in (None, args.crop)
    ]
    for index, unit in enumerate(units[: args.units]):
        times: tuple[list[float], list[float]] = ([], [])
        datas = []
        for capture in captures:
            datas.append(capture.float_data(index))
            capture.add_quantized(index, datas[-1])
        for _ in range(args.repeats):
            for data, own in zip(datas, times, strict=True):
                own.append(iteration(context, unit, data, args.batch))
        whole, crop = (statistics.median(own) for own in times)
        yield unit.name, captures[1].note, whole, crop


def iteration(context: CalibrationContext, unit: Unit, data: UnitData, batch: int) -> float:
    """Seconds of one."""
    step = BitShrinking(mode="direct", iters=1, batch_size=batch)
    form = step.trained_form(context.model, unit)
    problem = UnitProblem(context.adapter.model.get_submodule(unit.name), unit, form, data)
    groups = [group for group in step.groups(form) if group.params]
    params = [param for group in groups for param in group.params]
    for param in params:
        param.requires_grad_(True)
    with form.attached():
        loop = UnitLoop(problem, groups, Policy(), step.loop_settings(), 0, [0])
        _, taken = timed(lambda: loop._gradients(0, params), time.process_time)
    for param in params:
        param.grad = None
        param.requires_grad_(False)
    return taken


def make_context(args: argparse.Namespace, folder: str) -> CalibrationContext:
    """The config's model with ranges from the images."""
    init_default_scope("mmdet")
    cfg = Config.fromfile(args.config)
    model = MODELS.build(cfg.model).eval()
    adapter = find_adapter(model.model)
    model.prepare(adapter.plan(QConfig.parse(cfg.qconfig)))
    data: Any = RandomImages(args.batch, tuple(args.shape))
    store = StageStore(Path(folder) / "stages", {}, False)
    context = CalibrationContext(model, adapter, data, store, untracked)
    minmax = dict(type="MinMaxObserver")
    RangeCalibration(weight=minmax, act=minmax).run(context)
    model.eval()
    return context


if __name__ == "__main__":
    main()
