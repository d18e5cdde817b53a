"""Whether a runtime's mAP differs from the simulation's by more than rounding edges make it.

At few bits a value at a rounding edge goes up in one program and down in the other, and all behind
it changes: one run of either says little on few images. Here the same calibrated model is measured
many times, simulated and through the runtime, each time with noise on the images that is far below
one gray level, the same for both. It rolls the edges anew; what is left in the mean is the
runtime's. With float activations the noise itself does next to nothing.

  python benchmarks/runtime_jitter.py --data data --models bccd_retinanet --columns W4A4
"""

import argparse
import math
import statistics
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from arguments import ROOT, add_cells, new_parser
from cells import Cells
from comparison.columns import COLUMNS
from comparison.models import MODELS
from markdown_table import head, row
from runtime_map import RUNTIMES, cell_name, make_runner, percent
from silence import quiet

from mmptq.engine import float_form
from mmptq.evaluation import ResultRow
from mmptq.runner import CalibrationRunner
from mmptq.runner.exporting import export, runtime_row
from mmptq.targets import TARGETS

NOISE = 1e-5  # of the spread of an image's values


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    add = parser.add_argument
    add("--models", nargs="+", choices=list(MODELS), required=True)
    add("--columns", nargs="+", choices=list(COLUMNS), default=["W4A4"])
    add("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    add("--images", type=int, default=32, help="calibration images")
    add("--seed", type=int, default=0, help="choice of the calibration images")
    add("--repeats", type=int, default=8, help="measurements of each, 2 or more")
    add_cells(parser, "runtime_jitter")
    args = parser.parse_args()
    if args.repeats < 2:
        parser.error(f"--repeats {args.repeats}: must be 2 or more")
    args.target_options = []
    return args


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    names = []
    for model in args.models:
        for column in args.columns:
            for runtime in args.runtimes:
                name = f"{cell_name(args, model, column, runtime)}/{args.repeats} times"
                names.append(name)
                if not args.print_only:
                    compute = partial(measure, args, model, column, runtime)
                    print(name, cells.measure(name, compute), flush=True)
    print_table(cells, names)


def measure(args: argparse.Namespace, model: str, column: str, runtime: str) -> dict[str, Any]:
    """The metric of each measurement, in percent."""
    with tempfile.TemporaryDirectory() as work_dir, quiet():
        runner = make_runner(args, model, column, runtime, work_dir)
        simulated: ResultRow = runner.calibrate().rows[-1]
        path, target = Path(work_dir) / "m.onnx", TARGETS[runtime]
        export(runner, path, target)
        ways = {
            "simulated": lambda: runner.evaluate("simulated"),
            "real": lambda: runtime_row(runner, path, target, simulated).metrics,
            "float_acts": lambda: float_activations(runner),
        }
        return repeated(runner, ways, args.repeats, model)


def repeated(
    runner: CalibrationRunner,
    ways: Mapping[str, Callable[[], Mapping[str, Any]]],
    repeats: int,
    model: str,
) -> dict[str, Any]:
    """Measurements by each way, those of one repeat with the same noise."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(repeats):
        for way, metrics in ways.items():
            with jittered(runner, repeat):
                found[way].append(percent(metrics(), model))
    return {**found, **difference(found)}


def float_activations(runner: CalibrationRunner) -> dict[str, float]:
    """Metrics of the same weights with nothing rounded on the way."""
    with float_form(runner.model):
        return runner.evaluate("float activations")


def difference(found: dict[str, list[float]]) -> dict[str, float]:
    """Mean of the paired differences, and its standard error."""
    pairs = zip(found["real"], found["simulated"], strict=True)
    differences = [real - simulated for real, simulated in pairs]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return {"difference": round(statistics.fmean(differences), 3), "error": round(error, 3)}


@contextmanager
def jittered(runner: CalibrationRunner, repeat: int) -> Iterator[None]:
    """Every preprocessed image has noise on it, the same in each context of one ``repeat``."""

    def add_noise(module: Any, args: Any, data: dict[str, Any]) -> dict[str, Any]:
        x = data["inputs"]
        paths = [str(sample.img_path) for sample in data["data_samples"]]
        # By the image: how many are preprocessed before it differs between the ways.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{repeat}{paths}".encode()))
        noise = torch.randn(x.shape, generator=generator).to(x)
        return {**data, "inputs": x + NOISE * x.std() * noise}

    handle = runner.model.model.data_preprocessor.register_forward_hook(add_noise)
    try:
        yield
    finally:
        handle.remove()


def print_table(cells: Cells, names: list[str]) -> None:
    """Markdown."""
    print(
        f"\n{head(['cell', 'simulated', 'through the runtime', 'difference', 'float activations'])}"
    )
    for name in names:
        cell = cells.values.get(name)
        if cell is not None:
            means = [statistics.fmean(cell[key]) for key in ("simulated", "real")]
            text = f"{cell['difference']:+.2f} ± {cell['error']:.2f}"
            floats = f"{min(cell['float_acts']):.1f} to {max(cell['float_acts']):.1f}"
            print(row([name, *(f"{mean:.2f}" for mean in means), text, floats]))


if __name__ == "__main__":
    main()
