r"""Loss evaluations per second with and without incremental evaluation, over one Powell sweep.

``plain`` is the detector's own ``loss`` on the preprocessed batch: regions proposed and sampled,
targets assigned and weights quantized anew every time. ``full`` and ``incremental`` are the
evaluator, which does those once, without and with reuse of outputs.

Powell searches along every variable in turn. The points of its first sweep are recorded once; then
both ways evaluate samples of whole line searches in turn, so that other load on the machine hits
both. Time is the processor time of this process. The losses must be equal bit by bit.

    python benchmarks/lapq/evals_per_second.py configs/bccd/retinanet_r18_w4a4_lapq.py \
        --data-root data/bccd --images 2 --lines 24
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import add_images, add_threads, new_parser, run
from given_config import add_data_and_weights, given_config
from markdown_table import head, row
from peak_memory import peak_mb
from timing import timed

from mmptq.algorithms import RangeCalibration
from mmptq.algorithms.lapq.optimizers import powell
from mmptq.algorithms.lapq.search_space import SearchSpace
from mmptq.engine import CalibrationContext, LossEvaluator
from mmptq.runner.calibration_runner import CalibrationRunner

MMSE = {"type": "LpNormObserver", "p": 2.0}


def prepare(cfg: Config) -> CalibrationContext:
    """A model with MMSE ranges and its calibration images."""
    runner = CalibrationRunner.from_cfg(cfg)
    context = runner.setup()
    runner.prepare_model(context)
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    return context


def sweep_points(space: SearchSpace) -> list[list[tuple[float, ...]]]:
    """Points of each line search of a first sweep, on a bowl: what is asked, not what is found."""
    target = np.random.default_rng(0).uniform(-3.0, 3.0, len(space))
    lines: list[list[tuple[float, ...]]] = [[] for _ in range(len(space))]
    seen: set[tuple[float, ...]] = set()
    last: list[int] = [0]

    def bowl(x: np.ndarray) -> float:
        point = space.rounded(x)
        moved = [i for i, v in enumerate(point) if v != 0.0]
        last[0] = max([last[0], *moved])
        if point not in seen:
            seen.add(point)
            lines[last[0]].append(point)
        return float(np.sum((np.array(point) - target) ** 2))

    powell(bowl, np.zeros(len(space)), 1)
    return lines


def run_line(evaluator: LossEvaluator, space: SearchSpace, line: Any) -> tuple[list[float], float]:
    """Losses of a line's points and the processor time they took."""

    def losses_of_line() -> list[float]:
        losses = []
        for point in line:
            space.apply(point)
            losses.append(evaluator())
        return losses

    return timed(losses_of_line, time.process_time)


def plain_seconds(context: CalibrationContext, space: SearchSpace, line: Any) -> float:
    """Processor time of the detector's own loss at a line's points."""
    model, seconds = context.model, 0.0
    with torch.no_grad():
        for point in line:
            space.apply(point)
            for _, batch in context.data:
                batch = model.data_preprocessor(batch, False)
                start = time.process_time()
                for _, layer in model.quant_layers():
                    layer._cached_weight = None
                model.start_pass()
                model.model.loss(batch["inputs"], batch["data_samples"])
                seconds += time.process_time() - start
    return seconds


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("config")
    add_data_and_weights(parser)
    add_images(parser, default=2)
    parser.add_argument("--lines", type=int, default=0, help="line searches to run, 0 for all")
    add_threads(parser)
    parser.add_argument("--work-dir", default="work_dirs/evals_per_second")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cfg = given_config(args)
    cfg.work_dir, cfg.launcher = args.work_dir, "none"
    cfg.calib_cfg.num_images = args.images
    report(prepare(cfg), args.config, args.lines)


def report(context: CalibrationContext, config: str, num_lines: int) -> None:
    """Measure and print."""
    full = LossEvaluator(context, {"type": "TaskLoss"}, incremental=False)
    incremental = LossEvaluator(context, {"type": "TaskLoss"}, check=False)
    space = SearchSpace(context.model)
    lines = sweep_points(space)
    chosen = range(len(lines))
    if num_lines:
        # Neighbours in pairs: a line search starts from what the one before it kept.
        first = np.linspace(0, len(lines) - 2, max(num_lines // 2, 1)).astype(int)
        chosen = sorted({int(i) + j for i in first for j in (0, 1)})
    totals = {"plain": 0.0, "full": 0.0, "incremental": 0.0}
    count = 0
    for i in chosen:
        totals["plain"] += plain_seconds(context, space, lines[i])
        expected, seconds = run_line(full, space, lines[i])
        totals["full"] += seconds
        found, seconds = run_line(incremental, space, lines[i])
        totals["incremental"] += seconds
        if expected != found:
            raise SystemExit(f"the losses differ along {space.variables[i].name}")
        count += len(found)
    rates = {name: count / seconds for name, seconds in totals.items()}
    assert incremental.forward is not None
    print(f"{count} evaluations, equal losses")
    print(f"kept outputs {incremental.forward.bytes_in_memory / 1e6:8.1f} MB")
    print(f"peak memory  {peak_mb():8.0f} MB\n")
    titles = ["config", "variables", "images", "plain `loss`", "evaluator, full passes"]
    print(head([*titles, "incremental", "ratio to plain / to full"]))
    figures = [f"`{config}`", str(len(space)), str(len(context.data))]
    figures += [f"{rate:.1f} /s" for rate in rates.values()]
    ratios = [f"{rates['incremental'] / rates[name]:.1f}" for name in ("plain", "full")]
    print(row([*figures, " / ".join(ratios)]))


if __name__ == "__main__":
    run(main)
