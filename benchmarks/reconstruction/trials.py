"""Settings of the reconstruction family tried out on the demo detectors.

For the table "what we tried" of the docs. Besides mAP: the squared difference of the quantized and
the float model's head outputs relative to the float outputs' square, on training images that were
not calibrated on. It tells settings apart where the mAP of 120 images does not. Cells that the JSON
file holds are not measured again.

  python benchmarks/reconstruction/trials.py --bits 2/4 --method bitshrink --options stops=3
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import set_random_seed
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import ROOT, add_cells, add_options, new_parser, parse_options
from bccd import METHODS, NO_LOOP
from bccd_observers import cell_name, quietly
from cells import Cells

from mmptq.engine import CalibrationContext
from mmptq.engine.incremental.probing import float_form
from mmptq.models.trace import flatten_tensors
from mmptq.registry import STEPS, build
from mmptq.runner import CalibrationRunner

HELD_OUT = 32


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--family", choices=("retinanet", "faster_rcnn"), default="retinanet")
    parser.add_argument("--bits", default="2/4", help="weights/activations")
    parser.add_argument("--method", choices=METHODS, default="bitshrink")
    add_options(parser)
    parser.add_argument("--images", type=int, default=32, help="calibration images")
    parser.add_argument("--iters", type=int, default=100, help="iterations a unit")
    parser.add_argument("--batch", type=int, default=2, help="images in a mini-batch")
    parser.add_argument("--seed", type=int, default=0)
    add_cells(parser, "demo_reconstruction")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        size = f"{args.images}x{args.iters}x{args.batch}"
        trial = " ".join([args.method, *sorted(args.options)])
        bits = "W{}A{}".format(*args.bits.split("/"))
        name = cell_name(args.family, bits, size, f"seed{args.seed}", trial)
        cells.measure(name, lambda: run(args))
    print("| trial | held-out error | mAP | stops (forced) | CPU s |\n|---|---|---|---|---|")
    for name, cell in cells.values.items():
        print(
            f"| {name} | {cell['error']:.4f} | {100 * cell['bbox_mAP']:.1f} | {cell['stops']} "
            f"({cell['forced']}) | {cell['cpu_seconds']:.0f} |"
        )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """One cell."""
    with tempfile.TemporaryDirectory() as folder:
        runner = make_runner(args, folder)
        context = runner.setup()
        batches = list(context.data)
        data: Any = Images(batches[: args.images])
        context.data = data
        runner.prepare_model(context)
        held_out, regions = Images(batches[args.images :]), dict[int, Any]()
        with float_form(context.model):
            target = head_outputs(context, held_out, regions)
        set_random_seed(args.seed)
        begin, units = time.process_time(), list[dict[str, Any]]()
        build(STEPS, dict(Config.fromfile(runner.cfg.filename).calib_cfg.steps[0]), "start").run(
            context
        )
        for step in METHODS[args.method]:
            units = do_step(args, dict(step), context, Path(folder)) or units
        return {
            "cpu_seconds": time.process_time() - begin,
            "error": relative_error(head_outputs(context, held_out, regions), target),
            "stops": sum(unit["stops"] for unit in units),
            "forced": sum(unit["forced"] for unit in units),
            **quietly(runner, "trial"),
        }


def do_step(
    args: argparse.Namespace, step: dict[str, Any], context: CalibrationContext, folder: Path
) -> list[dict[str, Any]]:
    """Run a step; what it says of its units."""
    if step["type"] not in NO_LOOP:
        step.update(preset="fast", iters=args.iters, batch_size=args.batch)
        step.update(log_interval=max(args.iters // 5, 1), probe_images=4)
        step.update(parse_options(args.options))
    build(STEPS, step, "step").run(context)
    summary = folder / "reconstruction" / step["type"] / "summary.json"
    return json.loads(summary.read_text()) if summary.exists() else []


class Images:
    """Batches of one image in the form of a calibration set."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches, self.num_images = batches, len(batches)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(copy.deepcopy(self._batches))  # a data preprocessor writes into them


@torch.no_grad()
def head_outputs(
    context: CalibrationContext, images: Images, regions: dict[int, Any]
) -> list[list[Tensor]]:
    """Of each image, on the regions of the first model that was asked (the float one)."""
    model, adapter, found = context.model, context.adapter, []
    for position, batch in images:
        batch = model.data_preprocessor(batch, False)
        if position not in regions:
            model.start_pass()
            regions[position] = adapter.freeze(batch["inputs"], batch["data_samples"], False)
        model.start_pass()
        outputs = flatten_tensors(adapter.head_outputs(batch["inputs"], regions[position]))
        found.append([output.clone() for output in outputs])
    return found


def relative_error(outputs: list[list[Tensor]], target: list[list[Tensor]]) -> float:
    """Mean over the outputs of squared difference over squared target, each summed over images."""
    ratios = []
    for ours, theirs in zip(zip(*outputs, strict=True), zip(*target, strict=True), strict=True):
        difference = sum(float((a - b).square().sum()) for a, b in zip(ours, theirs, strict=True))
        ratios.append(difference / sum(float(b.square().sum()) for b in theirs))
    return sum(ratios) / len(ratios)


def make_runner(args: argparse.Namespace, folder: str) -> CalibrationRunner:
    cfg = Config.fromfile(ROOT / f"configs/demo/{args.family}_w4a4_mmse.py")
    weight_bits, act_bits = map(int, args.bits.split("/"))
    cfg.qconfig = dict(scope="full", weight=dict(num_bits=weight_bits), act=dict(num_bits=act_bits))
    cfg.calib_cfg.num_images = args.images + HELD_OUT
    cfg.calib_cfg.seed, cfg.work_dir, cfg.log_level = args.seed, folder, "WARNING"
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None, report=None)
    return CalibrationRunner.from_cfg(cfg)


if __name__ == "__main__":
    main()
