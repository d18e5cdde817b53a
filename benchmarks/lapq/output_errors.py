r"""Which of the heads' outputs quantization destroys, on the validation images.

For each quantized checkpoint, the relative squared error of every kind of output against the float
model, averaged over the images: what OutputDistance averages over the kinds. The regions of a
two-stage detector are the float model's, so that each head is judged on its own.

    python tools/quantize.py configs/bccd/faster_rcnn_r18_w4a4_lapq.py
    python benchmarks/lapq/output_errors.py configs/bccd/faster_rcnn_r18_w4a4_lapq.py \
        work_dirs/bccd_faster_rcnn_r18_w4a4_lapq/quantized.pth
"""

import argparse
import copy
import sys
import tempfile
from pathlib import Path

from mmengine.runner import load_checkpoint

from mmptq.engine import LossEvaluator
from mmptq.runner import CalibrationRunner

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import new_parser, run  # noqa: E402
from comparison.held_out import RecordedDistance  # noqa: E402
from given_config import add_data_and_weights, given_config  # noqa: E402
from markdown_table import head, row  # noqa: E402

# In the order of the adapters' outputs.
KINDS = {
    2: ("scores", "boxes"),
    4: ("proposals' scores", "proposals' boxes", "regions' scores", "regions' boxes"),
}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("config", help="a config with the checkpoints' detector and qconfig")
    parser.add_argument("quantized", nargs="+", help="quantized checkpoints")
    add_data_and_weights(parser)
    parser.add_argument(
        "--images", type=int, default=72, help="validation images (default: BCCD's 72)"
    )
    args = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as work_dir:
        runner = make_runner(args, work_dir)
        context = runner.setup()
        runner.model.prepare(runner.plan)
        evaluator = LossEvaluator(context, {"type": "RecordedDistance"}, incremental=False)
        for path in args.quantized:
            load_checkpoint(runner.model, path, map_location="cpu", strict=True)
            rows[path] = mean_errors(evaluator)
    names = KINDS[len(next(iter(rows.values())))]
    print(f"\n{head(['checkpoint', *names])}")
    for path, errors in rows.items():
        print(row([path, *(f"{error:.4f}" for error in errors)]))


def make_runner(args: argparse.Namespace, work_dir: str) -> CalibrationRunner:
    """Its calibration set is the validation set."""
    cfg = given_config(args)
    cfg.calib_dataloader = dict(dataset=copy.deepcopy(cfg.test_dataloader.dataset))
    cfg.calib_cfg.num_images = args.images
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None)
    cfg.work_dir, cfg.launcher = work_dir, "none"
    return CalibrationRunner.from_cfg(cfg)


def mean_errors(evaluator: LossEvaluator) -> list[float]:
    """Of each kind of output, over the images, as the model stands."""
    objective = evaluator.objective
    assert isinstance(objective, RecordedDistance)
    objective.errors.clear()
    evaluator()
    return [sum(column) / len(column) for column in zip(*objective.errors, strict=True)]


if __name__ == "__main__":
    run(main)
