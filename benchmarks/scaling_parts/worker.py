"""Seconds of a calibration's parts, and what they came to, in the processes that run this file.

Started by scaling.py, alone or in several processes; the first of them writes the figures.
"""

import argparse
import copy
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, barrier, get_world_size
from mmengine.runner import set_random_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import new_parser, run
from cells import write_json
from given_config import add_data_and_weights, given_config
from timing import in_turns, timed

from mmptq.adapters import find_adapter
from mmptq.algorithms import JointSearch, QDrop, RangeCalibration
from mmptq.algorithms.lapq.joint_search import LOG_NAME
from mmptq.engine import CalibrationContext
from mmptq.engine.storage.search_log import read_search_log
from mmptq.evaluation import nominal_shape
from mmptq.models import model_digest
from mmptq.models.digest import state_digest
from mmptq.runner import CalibrationRunner
from mmptq.runner.launch import init_processes
from mmptq.runner.prepare_config import complete_config
from mmptq.runner.random_model import random_model

MMSE = {"type": "LpNormObserver", "p": 2.0}
_FORWARDS = 3  # R50 takes seconds for one


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("config")
    add_data_and_weights(parser)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--forward", action="store_true", help="the float model's forward alone")
    for name in ("images", "tested", "evals", "iters", "batch"):
        parser.add_argument(f"--{name}", type=int, default=1)
    parser.add_argument("--launcher", choices=("none", "pytorch"), default="none")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    if args.forward:
        write_json(args.out, forward(given_config(args)))
        return
    init_processes(args.launcher)
    runner = CalibrationRunner.from_cfg(config(args))
    figures = Parts(runner, args).measured()
    if runner.rank == 0:
        write_json(args.out, figures)


def config(args: argparse.Namespace) -> Config:
    """The config with the recipe that is measured, without hooks and worker processes."""
    cfg = given_config(args)
    cfg.launcher, cfg.work_dir = args.launcher, str(args.out.parent)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.indices = args.tested
    cfg.calib_hooks = dict.fromkeys(("progress", "logging", "pictures", "save", "report"))
    own = args.batch // get_world_size()
    cfg.calib_cfg = dict(
        method="scaling",
        num_images=args.images,
        check_images=0,
        steps=[
            dict(type="RangeCalibration", weight=MMSE, act=MMSE),
            dict(
                type="JointSearch",
                optimizer="CoordinateDescent",
                group="unit",
                max_evals=args.evals,
            ),
            # The same images in all: each process has its share of a mini-batch and of the probe.
            dict(
                type="QDrop",
                preset="fast",
                iters=args.iters,
                batch_size=own,
                probe_images=own,
                log_interval=args.iters,
            ),
        ],
    )
    return cfg


class Parts:
    """Runs the parts one after another, each from the ranges that the statistics give."""

    def __init__(self, runner: CalibrationRunner, args: argparse.Namespace) -> None:
        self.runner, self.args = runner, args
        self.context: CalibrationContext = runner.setup()
        self.seconds: dict[str, float] = {}
        self.results: dict[str, Any] = {}

    def measured(self) -> dict[str, Any]:
        """Seconds and results by part."""
        ranges, search, reconstruction = self.runner.settings.steps
        assert isinstance(ranges, RangeCalibration)
        assert isinstance(search, JointSearch)
        assert isinstance(reconstruction, QDrop)
        model = self.runner.model
        model.prepare(self.runner.plan)
        self._statistics(ranges)
        start = copy.deepcopy(model.state_dict())
        self._evaluation()
        self._search(search)
        model.load_state_dict(start)
        self._reconstruction(reconstruction)
        return {"seconds": self.seconds, "results": self.results}

    def _statistics(self, step: RangeCalibration) -> None:
        found = self._timed("statistics", self.context.activation_statistics)
        states = sorted((name, s.state_dict()) for name, s in found.items())
        self.results["statistics"] = state_digest(
            (f"{name}/{key}", torch.as_tensor(value))
            for name, state in states
            for key, value in state.items()
        )
        self._timed("ranges", lambda: step.run(self.context))
        self.results["ranges"] = model_digest(self.runner.model, ranges=True)

    def _evaluation(self) -> None:
        evaluator = self.runner.test_loop.evaluator
        evaluate, spent = evaluator.evaluate, []

        def watched(size: int) -> Any:
            metrics, seconds = timed(lambda: evaluate(size))
            spent.append(seconds)
            return metrics

        evaluator.evaluate = watched
        metrics = self._timed("evaluation", lambda: self.runner.evaluate("scaling"))
        self.seconds["metric"] = sum(spent)
        self.results["evaluation"] = metrics

    def _search(self, step: JointSearch) -> None:
        self._timed("search", lambda: step.run(self.context))
        lines = read_search_log(self.context.store.folder / LOG_NAME)
        lines = [line for line in lines if "loss" in line]
        found = [(line["point"], line["loss"]) for line in lines]
        # Behind the first one, before which the float model has been looked at.
        self.seconds["searching"] = lines[-1]["seconds"] - lines[0]["seconds"]
        self.results["search"] = {
            "evaluations": len(found),
            "losses": hashlib.sha256(repr(found).encode()).hexdigest()[:16],
            "model": model_digest(self.runner.model, ranges=True),
        }

    def _reconstruction(self, step: QDrop) -> None:
        self._timed("reconstruction", lambda: step.run(self.context))
        folder = self.context.store.folder.parent / "reconstruction/QDrop"
        units = json.loads((folder / "summary.json").read_text())
        self.seconds["adjusting"] = sum(unit["seconds"] for unit in units)
        digests = all_gather_object(model_digest(self.runner.model, ranges=True))
        self.results["reconstruction"] = {
            "units": len(units),
            "left": statistics.fmean(unit["after"] / unit["before"] for unit in units),
            "one_model": len(set(digests)) == 1,
        }

    def _timed(self, name: str, part: Callable[[], Any]) -> Any:
        with _together():
            set_random_seed(0)
            start = time.perf_counter()
            found = part()
            barrier()
            self.seconds[name] = time.perf_counter() - start
        return found


@contextmanager
def _together() -> Iterator[None]:
    """All processes begin at the same time, and gradients are asked for by nobody."""
    barrier()
    with torch.no_grad():
        yield


def forward(cfg: Config) -> dict[str, Any]:
    """Median seconds of the float model's forward on one image, with random weights; its size."""
    complete_config(cfg)
    model = random_model(cfg).eval()
    adapter = find_adapter(model)
    image = torch.randn(1, 3, *nominal_shape(cfg))

    def run_once() -> None:
        with torch.no_grad():
            adapter.raw_outputs(image)

    weights = [p for m in model.modules() for p in m.parameters(recurse=False) if p.dim() > 1]
    return {
        "seconds": statistics.median(in_turns([run_once], _FORWARDS)[0]),
        "shape": list(image.shape[2:]),
        "weights": sum(p.numel() for p in weights),
        "layers": len(weights),
    }


if __name__ == "__main__":
    run(main)
