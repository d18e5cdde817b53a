"""mAP simulated and through each runtime: whether what is measured is what is shipped.

One cell is one run of the product: a model, bit-widths, a runtime. The model is calibrated for the
runtime's rules (`qconfig.target`) by the default recipe, exported whole, and measured through the
runtime by its config's own evaluator. Models and data as in benchmarks/methods.py; cells
that the JSON file holds are not measured again.

At few bits a value at a rounding edge goes up in one program and down in another, and all behind it
changes: on few images one run of either says little. With --repeats a cell is many runs of the same
calibrated model, simulated and through the runtime, each on images with noise far below a gray
level, the same for all; what is left in the mean is the runtime's. The runtimes add integers, which
is exact, so the simulation in float64 is there, too.

  python benchmarks/runtime_map.py --data data --models demo_retinanet --columns W8A8 W4A4
  python benchmarks/runtime_map.py --data data --models bccd_retinanet --columns W4A4 --repeats 8
"""

import argparse
import copy
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from arguments import ROOT, add_cells, new_parser
from cells import Cells
from comparison.columns import COLUMNS, find_columns
from comparison.models import DEFAULT_MODELS, MODELS, main_figure
from comparison.places import Places, read_model_config
from jitter import jittered, paired_difference
from markdown_table import head, row
from silence import quiet
from torch import Tensor

from mmptq.engine.incremental.probing import float_form
from mmptq.export.kinds import make_part
from mmptq.export.post_processing import traceable
from mmptq.runner import CalibrationRunner
from mmptq.runner.exporting import export, runtime_row, test_images
from mmptq.runner.prepare_config import complete_config
from mmptq.targets import TARGETS

RUNTIMES = ("openvino", "onnxruntime")  # with targets of the same names


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    add = parser.add_argument
    add("--models", nargs="+", choices=list(MODELS), default=list(DEFAULT_MODELS))
    for name, known in (("columns", COLUMNS), ("runtimes", RUNTIMES)):
        add(f"--{name}", nargs="+", choices=list(known), default=list(known))
    parser.add_argument("--images", type=int, default=32, help="calibration images")
    parser.add_argument("--seed", type=int, default=0, help="choice of the calibration images")
    parser.add_argument("--checked", type=int, default=32, help="images compared one by one")
    parser.add_argument(
        "--work-dir", type=Path, help="kept, a folder a model: what is calibrated there is taken up"
    )
    parser.add_argument(
        "--part",
        choices=["heads"],
        help="export up to the raw outputs: post-processing is MMDetection's own then",
    )
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, on jittered images")
    parser.add_argument(
        "--target-options",
        nargs="*",
        default=[],
        choices=["reduce_range", "quantize_outputs"],
        help="switches of the target that are on",
    )
    add_cells(parser, "runtime_map")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats {args.repeats}: must be 1 or more")
    return args


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        for model in args.models:
            for column in args.columns:
                for runtime in args.runtimes:
                    name = cell_name(args, model, column, runtime)
                    measured = measure if args.repeats == 1 else measure_repeatedly
                    compute = partial(measured, args, model, column, runtime)
                    print(name, cells.measure(name, compute), flush=True)
    print_table(cells, args)


def cell_name(args: argparse.Namespace, model: str, column: str, runtime: str) -> str:
    seed = [f"seed{args.seed}"] if args.seed else []
    times = [f"{args.repeats} times"] if args.repeats > 1 else []
    options = [*sorted(args.target_options), *([args.part] if args.part else [])]
    return "/".join((model, column, runtime, *options, *seed, *times))


def measure(args: argparse.Namespace, model: str, column: str, runtime: str) -> dict[str, Any]:
    """One run: calibrated, exported, measured."""
    with work_folder(args, model, column, runtime) as work_dir, quiet():
        runner = make_runner(args, model, column, runtime, work_dir)
        simulated = runner.calibrate().rows[-1]
        path, target = Path(work_dir) / "m.onnx", TARGETS[runtime]
        found = export(runner, path, target, args.part, num_images=args.checked)
        real = runtime_row(runner, path, target, simulated)
        exact = evaluate_in_float64(runner)
    wrong = len(found.saturated)
    return {
        "simulated": percent(simulated.metrics, model),
        "real": percent(real.metrics, model),
        "float64": percent(exact, model),
        "images": found.images,
        "close": found.close,
        "float64_close": found.float64_close,
        "agreement": round(found.agreement, 4),
        "float64_agreement": round(found.float64_agreement, 4),
        "integers": [found.integers, found.products],
        "wrong_layers": wrong,
        "mb": [round(size, 2) for size in (found.float_megabytes, found.megabytes)],
    }


def measure_repeatedly(
    args: argparse.Namespace, model: str, column: str, runtime: str
) -> dict[str, Any]:
    """One calibrated model, run many times on jittered images; means, and the single runs."""
    runs: dict[str, list[float]] = {"simulated": [], "real": [], "float64": [], "float": []}
    with work_folder(args, model, column, runtime) as work_dir, quiet():
        runner = make_runner(args, model, column, runtime, work_dir)
        simulated = runner.calibrate().rows[-1]
        path, target = Path(work_dir) / "m.onnx", TARGETS[runtime]
        export(runner, path, target, args.part)
        preprocessor = runner.model.model.data_preprocessor
        for repeat in range(args.repeats):
            with jittered(preprocessor, repeat):
                runs["simulated"].append(percent(runner.evaluate("simulated"), model))
            with jittered(preprocessor, repeat):
                real = runtime_row(runner, path, target, simulated).metrics
                runs["real"].append(percent(real, model))
            with jittered(preprocessor, repeat):
                runs["float64"].append(percent(evaluate_in_float64(runner), model))
            print(repeat, {key: found[-1:] for key, found in runs.items()}, file=sys.stderr)
        # The noise itself does next to nothing: with nothing quantized, without it and with it.
        with float_form(runner.model):
            runs["float"].append(percent(runner.evaluate("float"), model))
            with jittered(preprocessor, 0):
                runs["float"].append(percent(runner.evaluate("float"), model))
    means = {key: round(statistics.fmean(runs[key]), 2) for key in ("simulated", "real", "float64")}
    differences = {
        f"to_{other}": [round(value, 3) for value in paired_difference(runs["real"], runs[other])]
        for other in ("simulated", "float64")
    }
    return {**means, **differences, "runs": runs}


def work_folder(
    args: argparse.Namespace, model: str, column: str, runtime: str
) -> AbstractContextManager[str]:
    """Where one model is calibrated."""
    if args.work_dir is None:
        return tempfile.TemporaryDirectory()
    seeds = argparse.Namespace(**{**vars(args), "repeats": 1, "part": None})
    path = args.work_dir / cell_name(seeds, model, column, runtime).replace("/", "_")
    path.mkdir(parents=True, exist_ok=True)
    return nullcontext(str(path))


def percent(metrics: Mapping[str, Any], model: str) -> float:
    """The model's main metric."""
    return round(main_figure(metrics, MODELS[model].metric), 2)


def evaluate_in_float64(runner: CalibrationRunner) -> dict[str, float]:
    """Metrics of the simulation in float64: how much of them rounding edges alone decide."""
    part = make_part(runner.model.model)
    exact = copy.deepcopy(part).double()

    def network(*tensors: Tensor) -> list[Tensor]:
        found = exact(*(tensor.double() for tensor in tensors))
        return [y.float() if y.is_floating_point() else y for y in found]

    example = test_images(runner, 1)[0]
    with torch.no_grad(), traceable(), part.computed_by(network, example):
        return runner.evaluate("float64")


def make_runner(
    args: argparse.Namespace, model: str, column: str, runtime: str, work_dir: str
) -> CalibrationRunner:
    cfg = read_model_config(model, Places(args.data), work_dir)
    options = dict.fromkeys(args.target_options, True)
    (bits,) = find_columns([column])
    qconfig = bits.qconfig({"scope": "full"})
    cfg.qconfig = {**qconfig, "target": dict(type=runtime, **options)}
    given = dict(num_images=args.images, seed=args.seed)
    cfg.calib_cfg = dict(**given, baseline=False, eval_float=False)
    complete_config(cfg)
    cfg.resume = args.work_dir is not None
    return CalibrationRunner.from_cfg(cfg)


def print_table(cells: Cells, args: argparse.Namespace) -> None:
    """Markdown."""
    titles = ["model", "bits", "runtime", "simulated", "real"]
    if args.repeats > 1:
        titles += ["difference", "simulated in float64", "difference", "float model", "with noise"]
    else:
        titles += ["simulated in float64", "same images", "in float64", "same detections"]
        titles += ["in float64", "integers", "MB"]
    print(f"\n{head(titles)}")
    for model in args.models:
        for column in args.columns:
            for runtime in args.runtimes:
                cell = cells.values.get(cell_name(args, model, column, runtime))
                if cell is not None:
                    write = line if args.repeats == 1 else line_of_means
                    print(write(MODELS[model].title, column, runtime, cell))


def line_of_means(model: str, column: str, runtime: str, cell: dict[str, Any]) -> str:
    simulated, real, float64 = (f"{cell[key]:.2f}" for key in ("simulated", "real", "float64"))
    to_simulated, to_float64 = (
        "{:+.2f} ± {:.2f}".format(*cell[key]) for key in ("to_simulated", "to_float64")
    )
    columns = [model, column, runtime, simulated, real, to_simulated, float64, to_float64]
    return row([*columns, *map(str, cell["runs"]["float"])])


def line(model: str, column: str, runtime: str, cell: dict[str, Any]) -> str:
    images = cell["images"]
    columns = [
        model,
        column,
        runtime,
        f"{cell['simulated']:.1f}",
        f"{cell['real']:.1f}",
        f"{cell['float64']:.1f}" if "float64" in cell else "",
        f"{cell['close']} of {images}",
        f"{cell['float64_close']} of {images}",
        _percent(cell, "agreement"),
        _percent(cell, "float64_agreement"),
        "{} of {}".format(*cell["integers"]),
        "{} -> {}".format(*cell["mb"]),
    ]
    return row(columns)


def _percent(cell: dict[str, Any], key: str) -> str:
    return f"{cell[key]:.1%}" if key in cell else ""


if __name__ == "__main__":
    main()
