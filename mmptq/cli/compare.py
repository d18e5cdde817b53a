r"""Is one model better than another, or is it these validation images? A paired bootstrap of mAP.

Reads the COCO annotations of the test set and one file of detections a model, and prints each mAP
with its 95 % interval and each difference to the first model with its own.

Examples:
  python tools/quantize.py configs/demo/retinanet_w4a4_mmse.py \
      --cfg-options test_evaluator.outfile_prefix=work_dirs/mmse
  python tools/quantize.py configs/demo/retinanet_w4a4_mmse.py --recipe configs/_base_/calib/kl.py \
      --cfg-options test_evaluator.outfile_prefix=work_dirs/kl
  python tools/compare.py ~/.cache/mmptq/demo/annotations/val.json \
      work_dirs/mmse.bbox.json work_dirs/kl.bbox.json
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from rich import box
from rich.progress import track
from rich.table import Table

from mmptq.evaluation import render
from mmptq.evaluation.bootstrap import ResampledMap, bootstrap, load_truth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("annotations", help="COCO annotations of the test set")
    parser.add_argument("predictions", nargs="+", help="detections, the first to compare with")
    parser.add_argument("--samples", type=int, default=1000, help="draws (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")


def check(args: argparse.Namespace) -> str | None:
    if args.samples < 2:
        return f"--samples: at least 2, got {args.samples}"
    return None


def main(args: argparse.Namespace) -> None:
    truth = load_truth(args.annotations)
    models = [ResampledMap(truth, path) for path in args.predictions]
    progress = partial(track, description="drawing", disable=not sys.stdout.isatty())
    drawn = 100 * bootstrap(models, args.samples, args.seed, progress)
    measured = [100 * model(range(model.num_images)) for model in models]
    names = [Path(path).name.removesuffix(".bbox.json") for path in args.predictions]
    print_log(render(table(names, measured, drawn)))


def table(names: list[str], measured: list[float], drawn: np.ndarray) -> Table:
    """A row a model; ``drawn`` is ``(samples, models)``."""
    result = Table("model", box=box.SIMPLE)
    for column in ("mAP", "95 %", f"minus {names[0]}", "95 %", "draws above it"):
        result.add_column(column, justify="right")
    for i, name in enumerate(names):
        row = [name, f"{measured[i]:.1f}", interval(drawn[:, i], ".1f")]
        if i:
            gain = drawn[:, i] - drawn[:, 0]
            row += [f"{measured[i] - measured[0]:+.1f}", interval(gain, "+.1f")]
            row += [f"{(gain > 0).mean():.0%}"]
        result.add_row(*row)
    return result


def interval(values: np.ndarray, form: str) -> str:
    """Between the percentiles 2.5 and 97.5."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{low:{form}} to {high:{form}}"
