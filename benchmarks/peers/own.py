"""mmptq's own calibration in a process of its own: seconds, peak memory and metrics.

python benchmarks/peers/own.py CONFIG FIGURES
"""

import json
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import set_random_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import add_threads, new_parser
from peers.toolkits import keep_to_cpus, measured
from silence import quietly

from mmptq.engine import CalibrationContext
from mmptq.runner import CalibrationRunner


def main() -> None:
    """Calibrate by the config's recipe, then measure."""
    parser = new_parser(main.__doc__)
    parser.add_argument("config", help="complete, as benchmarks/peers/compare.py writes it")
    parser.add_argument("figures", type=Path, help="JSON file")
    add_threads(parser)
    args = parser.parse_args()
    keep_to_cpus(args.threads)
    torch.set_num_threads(args.threads)
    runner = CalibrationRunner.from_cfg(Config.fromfile(args.config))
    context = runner.setup()
    _, figures = measured(lambda: calibrate(runner, context))
    figures |= quietly(runner, runner.settings.method)
    args.figures.write_text(json.dumps(figures))


def calibrate(runner: CalibrationRunner, context: CalibrationContext) -> None:
    """All that lies between the float model and the quantized one."""
    runner.prepare_model(context)
    for index, step in enumerate(runner.settings.steps):
        set_random_seed(runner.settings.seed + index)
        step.run(context)


if __name__ == "__main__":
    main()
