"""Seconds per iteration of a reconstructed ResNet block against a plain PyTorch loop.

The plain loop runs the float block forward and backward on batches of the same size and steps an
Adam over its weights. Both alternate in one process, so both see the same load of the machine.
Times are CPU seconds of all threads, the ratio is that of the medians.

  python benchmarks/reconstruction/iteration_speed.py
  python benchmarks/reconstruction/iteration_speed.py --channels 256 --size 56 --batch 8
  python benchmarks/reconstruction/iteration_speed.py --qdrop DIR   # beside QDrop's own release
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmdet.models.backbones.resnet import BasicBlock
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import add_threads, new_parser, run
from markdown_table import head, row
from release import qdrop_iteration
from timing import in_turns

from mmptq.algorithms import BitShrinking, QDrop, Reconstruction
from mmptq.engine.storage.memory import keep_freed_memory
from mmptq.engine.units.reconstruction import UnitLoop
from mmptq.engine.units.unit_data import FLOAT_IN, FLOAT_OUT, QUANT_IN, CacheSettings, UnitData
from mmptq.engine.units.unit_problem import UnitProblem
from mmptq.engine.units.units import Unit
from mmptq.models import LayerPlan, Plan, QuantModel, SitePlan, TensorSpec

RELEASE = "QDrop's release"


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument(
        "--qdrop", type=Path, metavar="DIR", help="a clone of QDrop's release, to be timed beside"
    )
    add_threads(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as a reconstruction does
    shape = (1, args.channels, args.size, args.size)
    images = [torch.randn(shape).relu() for _ in range(args.batch)]
    plain = plain_iteration(args.channels, images)
    steps: dict[str, Reconstruction] = {
        "QDrop": QDrop(iters=1, batch_size=args.batch),
        "QDrop, no dropping": QDrop(iters=1, batch_size=args.batch, drop_prob=0.0),
        "BitShrinking, direct": BitShrinking(mode="direct", iters=1, batch_size=args.batch),
        "direct, dropping": BitShrinking(
            mode="direct", iters=1, batch_size=args.batch, drop_prob=0.5
        ),
    }
    runs = {name: iteration(args.channels, images, step) for name, step in steps.items()}
    runs = {"plain loop": plain, **runs}
    if args.qdrop:
        runs[RELEASE] = qdrop_iteration(args.qdrop, args.channels, images)
    seconds = measure(runs, args.repeats)
    print(
        f"BasicBlock, {args.channels} channels, {args.batch} x {args.size} x {args.size}, "
        f"{args.threads} threads, medians of {args.repeats}\n"
    )
    against = {"ratio": "plain loop", "to the release": RELEASE}
    against = {title: name for title, name in against.items() if name in seconds}
    print(head(["loop", "CPU s per iteration", *against]))
    for name, value in seconds.items():
        ratios = (f"{value / seconds[other]:.2f}" for other in against.values())
        print(row([name, f"{value:.4f}", *ratios]))


def measure(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, in turn."""
    times = in_turns(list(runs.values()), repeats, time.process_time)
    return {name: statistics.median(own) for name, own in zip(runs, times, strict=True)}


def block(channels: int) -> nn.Module:
    """A residual block with its norms already folded away."""
    made = BasicBlock(channels, channels).eval()
    made.norm1, made.norm2 = nn.Identity(), nn.Identity()
    made.bn1, made.bn2 = nn.Identity(), nn.Identity()
    return made


def plain_iteration(channels: int, images: list[Tensor]) -> Callable[[], Any]:
    """Float forward, backward and Adam step."""
    module = block(channels)
    target = copy.deepcopy(module)
    x = torch.cat(images)
    with torch.no_grad():
        y = target(x)
    optimizer = torch.optim.Adam(module.parameters(), 1e-4)

    def run() -> None:
        optimizer.zero_grad()
        (module(x) - y).square().sum(1).mean().backward()
        optimizer.step()

    return run


def iteration(channels: int, images: list[Tensor], step: Reconstruction) -> Callable[[], Any]:
    """One iteration of the step's loop on the block."""
    root = nn.Sequential(block(channels))
    layers, sites = [], []
    act, weight = TensorSpec(4, False), TensorSpec(4, True, True)
    for conv in ("0.conv1", "0.conv2"):
        layers.append(LayerPlan(conv, "Conv2d", ("backbone",), weight, (f"{conv}:0",)))
        sites.append(SitePlan(f"{conv}:0", conv, act, ((conv, 0),)))
    model = QuantModel(root, "model_")
    model.prepare(Plan("Sequential", "full", (), tuple(layers), tuple(sites)))
    for name, quantizer in model.weight_quantizers().items():
        rows = root.get_submodule(name).weight.detach().flatten(1)
        quantizer.set_range(rows.amin(1), rows.amax(1))
    for site in model.sites.values():
        site.set_range(torch.tensor(0.0), torch.tensor(4.0))
    names = tuple(layer.name for layer in layers)
    unit = Unit("0", names, (0,), (dict.fromkeys(names, 0),), False, tuple(model.sites))
    data = UnitData(len(images), 1, CacheSettings(), ".", torch.device("cpu"))
    with torch.no_grad():
        for i, image in enumerate(images):
            data.put(FLOAT_IN, i, 0, image)
            data.put(QUANT_IN, i, 0, image + 0.01)
            data.put(FLOAT_OUT, i, 0, image)
    for param in model.parameters():
        param.requires_grad_(False)
    form = step.trained_form(model, unit)
    problem = UnitProblem(root[0], unit, form, data)
    groups = [group for group in step.groups(form) if group.params]
    for group in groups:
        for param in group.params:
            param.requires_grad_(True)

    form._bind(form.weights, form.acts)
    policy = step.policy(problem, [0])
    loop = UnitLoop(problem, groups, policy, step.loop_settings(), 0, [0])
    params = [param for group in groups for param in group.params]
    optimizer = torch.optim.Adam([{"params": g.params, "lr": g.lr} for g in groups])

    def run() -> None:
        loop._gradients(1, params)
        optimizer.step()

    return run


if __name__ == "__main__":
    run(main)
