r"""The same float model, images and evaluator through mmptq and through other toolkits, at 8 bits.

NNCF's models are run by OpenVINO, ONNX Runtime's by itself. They give the raw head outputs; pre-
and post-processing and the evaluator are MMDetection's. The float model through each runtime must
reach MMDetection's figure, or nothing is compared. Every calibration has a process of its own,
whose seconds (from the loaded float model to the quantized one) and peak memory are told.

Cells that the JSON file holds are not measured again. Needs `pip install mmptq[peers]`.

  python benchmarks/peers/compare.py mmdet::yolox/yolox_nano_8xb8-300e_coco.py \
      --checkpoint yolox_nano.pth --data-root data/coco --images 32
  python benchmarks/peers/compare.py configs/bccd/retinanet_r18_w8a8_mmse.py --data-root data/bccd \
      --checkpoint checkpoints/bccd/retinanet_r18_bccd.pth --recipes configs/_base_/calib/kl.py
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import ROOT, add_cells, add_images, add_seed, add_threads, new_parser, run
from cells import Cells
from markdown_table import head, row
from peers.raw_heads import RawHeads
from peers.toolkits import RUNTIMES, TOOLKITS, Session, missing_packages
from silence import quietly

from mmptq.engine import CalibrationContext
from mmptq.errors import ConfigError, MmptqError
from mmptq.export.parts import INPUT, Network
from mmptq.runner import CalibrationRunner
from mmptq.runner.launch import add_common_arguments, load_config
from mmptq.runner.prepare_config import complete_config

HERE = Path(__file__).resolve().parent
STOCK = "mmdet::yolox/yolox_nano_8xb8-300e_coco.py"
OWN, FLOAT = "mmptq", "float"
# Runtimes add in another order: a detection at the edge of a threshold may come or go.
TOLERANCE = 0.002


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("config", nargs="?", default=STOCK, help=f"default: {STOCK}")
    parser.add_argument("--checkpoint", help="float weights, file or URL (default: load_from)")
    add_images(parser)
    add_seed(parser)
    add_threads(parser, used_for="CPUs of a calibration")
    parser.add_argument("--methods", nargs="+", choices=[OWN, *TOOLKITS], default=[OWN, *TOOLKITS])
    base = ROOT / "configs/_base_"
    recipes = [str(base / "calib/minmax.py"), str(base / "calib/mmse.py")]
    parser.add_argument("--recipes", nargs="+", default=recipes, help=f"of {OWN}: config files")
    qconfig = str(base / "quant/w8a8.py")
    parser.add_argument("--qconfig", default=qconfig, help=f"of {OWN}: config file")
    parser.add_argument("--metric", default="bbox_mAP", help="of the evaluator, in [0, 1]")
    add_common_arguments(parser)
    add_cells(parser, "peers")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_args()
    cells = Cells(args.json)
    if not args.print_only:
        check_installed(args.methods)
        measure(cells, args)
    print_table(cells, args)


def check_installed(methods: Sequence[str]) -> None:
    """Make sure that the toolkits of ``methods`` are there.

    Raises:
        ConfigError: Some are not.
    """
    absent = missing_packages(methods)
    if absent:
        raise ConfigError(
            f"--methods {' '.join(methods)} needs {', '.join(absent)}: pip install mmptq[peers], "
            f"or choose among {', '.join([OWN, *TOOLKITS])} what is installed"
        )


def measure(cells: Cells, args: argparse.Namespace) -> None:
    """All cells that ``args`` asks for."""
    peers = [method for method in args.methods if method in TOOLKITS]
    comparison = Comparison(args)
    cell = partial(measure_cell, cells, args)
    target = cell(FLOAT, comparison.evaluate)
    for runtime in dict.fromkeys(TOOLKITS[peer].runtime for peer in peers):
        found = cell(f"{FLOAT}-{runtime}", partial(comparison.float_through, runtime))
        check_same(runtime, found, target, args.metric)
    if OWN in args.methods:
        for recipe in args.recipes:
            cell(own_name(args, recipe), partial(comparison.own, recipe))
    for peer in peers:
        cell(peer, partial(comparison.peer, peer))


def measure_cell(cells: Cells, args: argparse.Namespace, name: str, compute: Any) -> dict[str, Any]:
    new = cell_name(args, name) not in cells.values
    figures = cells.measure(cell_name(args, name), compute)
    if new:
        print(f"{name}: {json.dumps(figures)}", flush=True)
    return figures


def check_same(runtime: str, found: dict[str, Any], target: dict[str, Any], metric: str) -> None:
    """Make sure that a runtime computes the same float model.

    Raises:
        ConfigError: The metric differs.
    """
    if abs(found[metric] - target[metric]) > TOLERANCE:
        raise ConfigError(
            f"the float model run by {runtime} reaches {metric} {found[metric]:.4f}, by "
            f"MMDetection {target[metric]:.4f}: its head does more than its forward; leave out the "
            f"methods that {runtime} runs"
        )


class Comparison:
    """The float model in its test loop, and what the calibrations read; made when first needed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.folder = args, Path(args.work_dir or "work_dirs/peers")

    @cached_property
    def runner(self) -> CalibrationRunner:
        """With the float model, the test loop and the evaluator."""
        return self._set_up[0]

    @cached_property
    def heads(self) -> RawHeads:
        """The float model's network."""
        return self._set_up[1].eval()

    @cached_property
    def _set_up(self) -> tuple[CalibrationRunner, RawHeads, CalibrationContext]:
        cfg = make_config(self.args, self.args.recipes[0], self.folder)
        runner = CalibrationRunner.from_cfg(cfg)
        # Before data is read: it refuses what cannot be compared.
        heads = RawHeads(runner.model.model)
        return runner, heads, runner.setup()

    @cached_property
    def images(self) -> list[Path]:
        """The preprocessed calibration images: files of arrays ``(1, 3, H, W)``."""
        context = self._set_up[2]
        folder = emptied(self.folder / "images")
        paths = []
        for position, batch in context.data:
            paths.append(folder / f"{position:05}.npy")
            np.save(paths[-1], context.adapter.preprocess(batch, False)["inputs"].cpu().numpy())
        return paths

    @property
    def example(self) -> Tensor:
        """A calibration image ``(1, 3, H, W)``."""
        device = next(self.heads.parameters()).device
        return torch.from_numpy(np.load(self.images[0])).to(device)

    @cached_property
    def onnx(self) -> Path:
        """The exported float model."""
        path = self.folder / "float.onnx"
        self.heads.export(path, self.example)
        return path

    def evaluate(self) -> dict[str, Any]:
        """Metrics of the detector as it is now."""
        return quietly(self.runner, FLOAT)

    def float_through(self, runtime: str) -> dict[str, Any]:
        """Metrics of the float model through a runtime."""
        return self._through(runtime, self.onnx)

    def peer(self, method: str) -> dict[str, Any]:
        """Figures of a toolkit."""
        toolkit = TOOLKITS[method]
        path = self.folder / f"{method}.{toolkit.suffix}"
        arguments = [method, self.onnx, self.images[0].parent, path]
        figures = self._in_own_process("toolkits.py", arguments, method)
        return figures | self._through(toolkit.runtime, path)

    def own(self, recipe: str) -> dict[str, Any]:
        """Figures of one of mmptq's recipes."""
        name = f"{OWN}-{Path(recipe).stem}"
        cfg = make_config(self.args, recipe, self.folder / name)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.py"
        cfg.dump(path)
        return self._in_own_process("own.py", [path], name)

    def _through(self, runtime: str, model: Path) -> dict[str, Any]:
        network = as_network(RUNTIMES[runtime](model))
        with self.heads.computed_by(network, {INPUT: self.example}):
            return self.evaluate()

    def _in_own_process(self, script: str, arguments: list[Any], name: str) -> dict[str, Any]:
        figures = self.folder / f"{name}.json"
        figures.unlink(missing_ok=True)
        threads = str(self.args.threads)
        command = [sys.executable, HERE / script, *arguments, figures, "--threads", threads]
        log = self.folder / f"{name}.log"
        with log.open("w") as file:
            done = subprocess.run(
                [str(word) for word in command],
                env=os.environ | {"OMP_NUM_THREADS": threads},
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode or not figures.exists():
            raise MmptqError(
                f"the calibration by {name} ended with exit status {done.returncode}; {log} says "
                "why. Leave it out by --methods, the finished cells are kept"
            )
        return json.loads(figures.read_text())


def make_config(args: argparse.Namespace, recipe: str, work_dir: Path) -> Config:
    """The config of the command line with one of mmptq's recipes."""
    cfg = load_config(args, args.qconfig, recipe)
    if args.checkpoint:
        cfg.load_from = args.checkpoint
    complete_config(cfg)
    cfg.calib_cfg.num_images, cfg.calib_cfg.seed = args.images, args.seed
    cfg.work_dir = str(work_dir)
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, progress=None)
    cfg.log_level = "WARNING"
    return cfg


def as_network(session: Session) -> Network:
    """A runtime's session of arrays as a function of tensors."""

    def network(image: Tensor) -> list[Tensor]:
        return [torch.from_numpy(found).to(image.device) for found in session(image.cpu().numpy())]

    return network


def emptied(folder: Path) -> Path:
    """``folder``, without what an earlier run left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.npy"):
        path.unlink()
    return folder


def own_name(args: argparse.Namespace, recipe: str) -> str:
    return f"{OWN}-{Path(recipe).stem}-{Path(args.qconfig).stem}"


def cell_name(args: argparse.Namespace, method: str) -> str:
    """What decides a cell; the float model does not depend on the calibration images."""
    weights, data = Path(args.checkpoint or "own").stem, Path(args.data_root or "own").name
    options = [f"{key}={value}" for key, value in sorted((args.cfg_options or {}).items())]
    model = "/".join([Path(args.config).stem, weights, data, *options])
    return (
        f"{model}/{method}"
        if method.startswith(FLOAT)
        else (f"{model}/{args.images} images, seed {args.seed}, {args.threads} threads/{method}")
    )


def print_table(cells: Cells, args: argparse.Namespace) -> None:
    """Markdown: one row a method that is measured, in the order of the command line."""
    target = cells.values.get(cell_name(args, FLOAT))
    if target is None:
        print("nothing is measured yet")
        return
    rows = {FLOAT: "float, MMDetection"}
    rows |= {f"{FLOAT}-{runtime}": f"float, {runtime}" for runtime in RUNTIMES}
    for recipe in args.recipes:
        rows[own_name(args, recipe)] = f"{OWN} {Path(recipe).stem}, {Path(args.qconfig).stem}"
    rows |= {name: f"{toolkit.label}, {toolkit.runtime}" for name, toolkit in TOOLKITS.items()}
    titles = ["method", args.metric, "minus float", "calibration s", "peak MB"]
    print(f"\n{head(titles)}")
    for name, label in rows.items():
        figures = cells.values.get(cell_name(args, name))
        if figures is not None:
            value, change = figures[args.metric], figures[args.metric] - target[args.metric]
            cost = [str(figures.get(key, "")) for key in ("seconds", "peak_mb")]
            print(row([label, f"{100 * value:.1f}", f"{100 * change:+.1f}", *cost]))


if __name__ == "__main__":
    run(main)
