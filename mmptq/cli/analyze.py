r"""Look at the loss of a quantized model: a picture, the raw numbers and a short table.

  surface    loss over two steps                                   (LAPQ, Fig. 1 and 2)
  metric-p   metric or loss over p, ranges of least L_p error      (LAPQ, Fig. 3 and 4)
  p-path     loss along the L_p path, parabola and vertex          (LAPQ, Fig. 5)
  hessian    Hessian of the loss in the steps, Gaussian curvature  (LAPQ, eq. 8 and 9, Fig. A.1)
  landscape  loss over two random directions of the weights, float and quantized
                                                                   (Bit-shrinking, Fig. 1)
  sensitivity  which quantizers hurt, one by one and by stage, and what spares the worst

Each writes <work dir>/analysis/<command>.png and .json. Values are logged as they are computed:
with --resume, a killed run computes only what is missing. The config's recipe is not run; ranges
are those of least L_p error, MMSE (p = 2) where nothing else is said.

Examples:
  python tools/analyze.py surface configs/demo/retinanet_w4a4_mmse.py --bits 4/4 2/2
  python tools/analyze.py metric-p configs/demo/retinanet_w4a4_mmse.py --loss
  python tools/analyze.py hessian configs/bccd/retinanet_r18_w4a4_mmse.py --tensors '*.act'
  python tools/analyze.py landscape configs/demo/faster_rcnn_w4a4_mmse.py --resume
  python tools/analyze.py sensitivity configs/demo/retinanet_w4a4_mmse.py --bits 8/8 4/4
"""

import argparse
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmptq.analysis import BitWidths
from mmptq.cli.analyses import ANALYSES, Results, Run
from mmptq.errors import ConfigError
from mmptq.evaluation import render
from mmptq.fileio import save_json
from mmptq.registry import OBJECTIVES, build
from mmptq.runner import CalibrationRunner
from mmptq.runner.launch import add_common_arguments, init_processes, load_config
from mmptq.runner.prepare_config import complete_config
from mmptq.runner.sweep import name_apart

# How the run was made; they say nothing of what came out.
_FREE_OPTIONS = ("local_rank", "launcher", "resume", "cache_gb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True)
    for name, analysis in ANALYSES.items():
        command = commands.add_parser(name, help=analysis.summary, description=analysis.summary)
        add_shared(command, analysis.bits, analysis.objective)
        analysis.add_arguments(command)
        add_common_arguments(command)


def add_shared(parser: argparse.ArgumentParser, bits: str, objective: str) -> None:
    add = parser.add_argument
    add("config", help="any config of tools/quantize.py")
    add(
        "--bits",
        nargs="+",
        default=bits.split(),
        help="weights/activations, 32 for float; the scope and overrides of qconfig stay "
        f"(default: {bits or 'those of qconfig'})",
    )
    add("--images", type=int, help="calibration images (default: as the config says)")
    add("--objective", default=objective, help="what the loss is (default: %(default)s)")
    add(
        "--checkpoint",
        help="float weights (default: the config's load_from); for sensitivity also a quantized "
        "checkpoint, whose ranges are taken",
    )
    add("--qconfig", help="config file that says what is quantized")
    add("--cache-gb", type=float, default=2.0, help="memory budget of the loss (default: 2)")
    add("--resume", action="store_true", help="go on from what a killed run has logged")


def main(args: argparse.Namespace) -> None:
    analysis = ANALYSES[args.command]
    analysis.check(args)
    build(OBJECTIVES, {"type": args.objective}, "--objective")
    widths = bit_widths(args)
    if args.images is not None and args.images < 1:
        raise ConfigError(f"--images {args.images}: must be 1 or more")
    init_processes(args.launcher)
    results: Results = {}
    for bits in widths:
        runner = make_runner(args, bits)
        run = Run(args, bits, runner, runner.setup())
        analysis.prepare(run)
        analysis.measure(run, results)
    if is_main_process():
        out = Path(runner.work_dir).parent / args.command
        save_results(args, runner, results, out.with_suffix(".json"))
        print_log(render(analysis.show(args, results, out.with_suffix(".png"))))
        print_log(f"{out}.png, {out}.json")


def bit_widths(args: argparse.Namespace) -> list[BitWidths]:
    """Those that were asked for, or the config's own."""
    if args.bits:
        return [BitWidths.parse(text) for text in args.bits]
    cfg = load_config(args, args.qconfig)
    complete_config(cfg)
    return [BitWidths.of(cfg.qconfig)]


def make_runner(args: argparse.Namespace, bits: BitWidths) -> CalibrationRunner:
    """The config's runner at these bit-widths, with a folder and a name of its own."""
    cfg = load_config(args, args.qconfig)
    complete_config(cfg)
    ANALYSES[args.command].change_config(args, cfg)
    if args.checkpoint:
        cfg.load_from = args.checkpoint
    if args.images is not None:
        cfg.calib_cfg.num_images = args.images
    cfg.qconfig = bits.apply(cfg.qconfig)
    folder = f"{args.command}_{bits.label.lower()}"
    cfg.work_dir = str(Path(cfg.work_dir) / "analysis" / folder)
    cfg.resume = args.resume
    cfg.calib_hooks = dict(pictures=None, save=None, logging=None, report=None)
    name_apart(cfg, folder)
    return CalibrationRunner.from_cfg(cfg)


def save_results(
    args: argparse.Namespace, runner: CalibrationRunner, results: Results, path: Path
) -> None:
    content = {
        "options": {k: v for k, v in vars(args).items() if k not in _FREE_OPTIONS},
        "checkpoint": str(runner.cfg.load_from),
        "scope": runner.qconfig.scope,
        "images": runner.settings.num_images,
        "results": results,
    }
    save_json(path, content)
