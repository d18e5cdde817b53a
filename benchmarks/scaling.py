"""What several processes gain, and what COCO with R50 would take on more devices.

Runs each part of a calibration in one process of one thread and in two, in turns: the statistics'
pass, the ranges, the evaluation, LAPQ's search, a reconstruction. The work is the same: images,
evaluations, and mini-batches of as many images, of which each of two processes has half.
Every run is a cell; a command that is killed goes on with the next.

  python benchmarks/scaling.py                      # the RetinaNet of the digits
  python benchmarks/scaling.py --config configs/deeppcb/retinanet_mobilenetv2_w4a4_mmse.py

With --model it fits seconds to these runs (scaling_parts/cost_model.py) and tells those of another
model on 1, 8 and 64 devices. It computes, it does not measure: the devices are cores like this
machine's, or such as --seconds says; what connects them is what --bandwidth and --latency say.

  python benchmarks/scaling.py --model
  python benchmarks/scaling.py --model --seconds 0.02 --bandwidth 100
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from arguments import ROOT, add_cells, new_parser, run
from cells import Cells
from given_config import add_data_and_weights
from records import origin
from scaling_parts.cost_model import Link, Network, Transfer
from scaling_parts.held import broken, markdown
from scaling_parts.points import Amount, Point, forward, points
from scaling_parts.predictions import described, fit_table, fits, job_table, selected

from mmptq.errors import MmptqError

CONFIG = "configs/demo/retinanet_w4a4_mmse.py"
OTHER = "configs/retinanet/r50_w4a4.py"


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--config", default=str(ROOT / CONFIG), help=f"default: {CONFIG}")
    add_data_and_weights(parser)
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        default=[64, 128],
        help="calibration images; as many are tested, an eighth is a mini-batch",
    )
    parser.add_argument("--evals", type=int, default=12, help="evaluations of the search")
    parser.add_argument("--iters", type=int, default=30, help="iterations a unit")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind")
    parser.add_argument("--model", action="store_true", help="fit, and tell of another model")
    parser.add_argument("--other", default=str(ROOT / OTHER), help=f"its config, default: {OTHER}")
    parser.add_argument(
        "--seconds", type=float, help="of its float forward of an image, on a device"
    )
    parser.add_argument("--bandwidth", type=float, default=10.0, help="between devices, GB/s")
    parser.add_argument("--latency", type=float, default=50.0, help="of a message, microseconds")
    parser.add_argument("--lapq-evals", type=int, default=400, help="of LAPQ there")
    add_cells(parser, "scaling")
    args = parser.parse_args()
    check(args)
    return args


def check(args: argparse.Namespace) -> None:
    """Make sure that the work can be shared by two processes.

    Raises:
        MmptqError: Naming the argument, the value and what would be right.
    """
    for size in args.sizes:
        if size < 16 or size % 16:
            raise MmptqError(f"--sizes {size}: must be a multiple of 16, to halve an eighth")
    if args.model and len(set(args.sizes)) < 2:
        raise MmptqError(f"--sizes {args.sizes[0]}: --model fits to two sizes or more")
    for name, least in (("evals", 2), ("iters", 1), ("repeats", 1), ("lapq_evals", 2)):
        value = getattr(args, name)
        if value < least:
            raise MmptqError(f"--{name.replace('_', '-')} {value}: must be {least} or more")
    for name in ("seconds", "bandwidth", "latency"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise MmptqError(f"--{name} {value}: must be more than 0")


def main() -> int:
    args = parse_args()
    cells = Cells(args.json)
    amounts = [Amount(images, args.evals, args.iters) for images in sorted(set(args.sizes))]
    wanted = points(args.config, amounts, args.repeats)
    if not args.print_only:
        measure(cells, wanted, given(args))
    runs = {point: cells.values[point.name] for point in wanted if point.name in cells.values}
    if len(runs) < len(wanted):
        print("Not measured yet: `python benchmarks/scaling.py` does it.")
        return 0
    if args.model:
        tell(args, cells, runs)
        return 0
    largest = selected(runs, amounts[-1])
    print(f"{Path(args.config).stem}: {described(wanted)}.\n\n{markdown(largest)}\n")
    print(recorded(runs[wanted[-1]]))
    return len(broken(largest))


def given(args: argparse.Namespace) -> list[str]:
    """What of the command line is the worker's."""
    found = {"data-root": args.data_root, "checkpoint": args.checkpoint}
    return [f"--{name}={value}" for name, value in found.items() if value]


def measure(cells: Cells, wanted: list[Point], more: list[str]) -> None:
    """Fill the cells that are missing."""
    for index, point in enumerate(wanted):
        print(f"{index + 1} of {len(wanted)}: {point.name}", flush=True)
        cells.measure(point.name, partial(measured, point, more))


def measured(point: Point, more: list[str]) -> dict[str, Any]:
    """A run's figures, and where they come from."""
    return {**point.measure(more), **origin()}


def tell(args: argparse.Namespace, cells: Cells, runs: dict[Point, dict[str, Any]]) -> None:
    """Print the fit, and what it says of the other model."""
    own = forward(cells, args.config, not args.print_only)
    other = forward(cells, args.other, not args.print_only)
    if not own or not other:
        print("Not measured yet: `python benchmarks/scaling.py --model` does it.")
        return
    found = fits(runs)
    height, width = other["shape"]
    seconds = args.seconds or other["seconds"]
    device = "on a device" if args.seconds else "on one core of the machine of the measurements"
    link = Link(1e9 * args.bandwidth, 1e-6 * args.latency)
    transfer = Transfer(
        Network(own["seconds"], own["weights"], own["layers"]),
        Network(seconds, other["weights"], other["layers"]),
        link,
    )
    print(
        f"Computed, not measured: {Path(args.other).parent.name} {Path(args.other).stem} at "
        f"{width}x{height}, whose float forward takes {seconds:.3g} s {device}; gradients go over "
        f"{args.bandwidth:g} GB/s with a latency of {args.latency:g} microseconds.\n"
    )
    print(job_table(found, transfer, args.lapq_evals))
    print(
        f"\nFitted to {Path(args.config).stem} in 1 and 2 processes, "
        f"{' and '.join(map(str, sorted(set(args.sizes))))} images. A round takes `once + image * "
        "ceil(images / n) + exchange * growth(n)`; an image's seconds are in forward passes of the "
        "float model:\n"
    )
    print(f"{fit_table(found, own['seconds'])}\n\n{recorded(next(iter(runs.values())))}")


def recorded(run_: dict[str, Any]) -> str:
    """Where the figures come from."""
    return f"Recorded {run_['date']} ({run_['commit']}) on {run_['machine']}."


if __name__ == "__main__":
    run(main)
