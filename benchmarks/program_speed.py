"""Seconds of MixedPrecision's integer programs on R50 detectors, with made-up sensitivities.

Bits and costs are the real ones, at 800x1333; what each bit-width does is drawn: a quarter for each
bit more, over three orders of magnitude from tensor to tensor.

  python benchmarks/program_speed.py
"""

import random
from pathlib import Path

import torch
from arguments import ROOT, new_parser
from markdown_table import head, row
from timing import timed

from mmptq.adapters import find_adapter
from mmptq.algorithms.mixed_precision.budget import Budget
from mmptq.algorithms.mixed_precision.costs import Costs
from mmptq.algorithms.mixed_precision.groups import find_groups
from mmptq.algorithms.mixed_precision.program import HARM, Program
from mmptq.evaluation import profile_model
from mmptq.models import QConfig
from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import complete_config
from mmptq.runner.probe import pipeline_probe
from mmptq.runner.random_model import random_model

CONFIGS = {
    "RetinaNet-R50": "configs/retinanet/r50_w4a4.py",
    "Faster R-CNN-R50": "configs/faster_rcnn/r50_w4a4.py",
}
BUDGETS = {"MB": ("size_mb",), "GBOPs": ("gbops",), "both": ("size_mb", "gbops")}
WEIGHT_BITS, ACT_BITS = (2, 3, 4, 6, 8), (4, 6, 8)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--draws", type=int, default=3, help="sensitivities (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(head(["detector", "groups", "as W4A4 in", "seconds"]))
    for title, config in CONFIGS.items():
        costs = costs_of(ROOT / config)
        for budget, keys in BUDGETS.items():
            limits = Budget(**dict.fromkeys(keys, "W4A4")).limits(costs)
            seconds = [seconds_of(costs, limits, seed) for seed in range(args.draws)]
            span = f"{min(seconds):.1f} to {max(seconds):.1f}"
            print(row([title, str(len(costs.groups)), budget, span]), flush=True)


def costs_of(config: Path) -> Costs:
    cfg = read_config(str(config))
    cfg.work_dir = ""
    complete_config(cfg)
    adapter = find_adapter(random_model(cfg))
    adapter.probe = pipeline_probe(cfg, adapter)
    qconfig = QConfig.parse(cfg.qconfig)
    plan = adapter.plan(qconfig)
    profile = profile_model(adapter, adapter.probe.full_size)
    return Costs.of(find_groups(plan, qconfig, WEIGHT_BITS, ACT_BITS), profile, plan)


def seconds_of(costs: Costs, limits: dict[str, float], seed: int) -> float:
    draw = random.Random(seed)
    sizes = [10 ** draw.uniform(-3, 0) for _ in costs.groups]
    pairs = zip(costs.groups, sizes, strict=True)
    harm = [[size * 4.0**-bits for bits in group.choices] for group, size in pairs]
    found, seconds = timed(lambda: Program(costs, harm).solve(HARM, limits))
    assert found is not None
    return seconds


if __name__ == "__main__":
    main()
