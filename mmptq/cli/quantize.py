r"""Quantize a detector or classifier after training, and measure it before and after.

The config names the float model, what is quantized (qconfig) and by which recipe (calib_cfg).
Any MMDetection config will do when --qconfig says what to quantize.

results, in the work dir:
  quantized.pth   checkpoint that tools/test.py and MMDetection's own tools open with the config;
                  with --packed its weights are integers of their own bits, to the same outputs
  results.json    the table printed at the end
  quantized.onnx  with --export: integers for a runtime, checked there
  report.html     all about the run on one page, without network: table, pictures, curves, bits and
                  MACs of each layer, calibration images, environment, config
  pictures/       detections of the float and the quantized models side by side
  pareto.png      with --pareto: the metric over size and bit operations, pareto.json its figures
  detections/     with --keep-detections: every row's boxes, for tools/compare.py and for the
                  intervals of tools/leaderboard.py

Examples:
  python tools/quantize.py configs/demo/retinanet_w4a4_mmse.py
  python tools/quantize.py configs/retinanet/r50_w4a4.py --data-root data/coco
  python tools/quantize.py configs/retinanet/r50_w4a4.py --dry-run
  python tools/quantize.py configs/demo/retinanet_w8a8_mmse.py --export openvino
  python tools/quantize.py configs/demo/retinanet_w4a4_mmse.py --pareto
  python tools/quantize.py configs/classification/resnet20_cifar10_w4a4_bitshrink.py
  python tools/quantize.py mmdet::yolox/yolox_s_8xb8-300e_coco.py --checkpoint yolox_s.pth \
      --qconfig configs/_base_/quant/w8a8.py --data-root data/coco
  python tools/quantize.py my_mmdet_config.py --checkpoint my.pth \
      --qconfig configs/_base_/quant/w4a4.py --recipe configs/_base_/calib/kl.py
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from rich.console import Console

from mmptq.adapters import find_adapter
from mmptq.cli.pareto import add_pareto_arguments, pareto
from mmptq.errors import ConfigError
from mmptq.evaluation import Results, model_cost, plan_table, profile_model
from mmptq.export.checks import check_installed
from mmptq.models import SCOPES, QConfig
from mmptq.runner import CalibrationRunner
from mmptq.runner.exporting import export, runtime_row
from mmptq.runner.launch import add_common_arguments, init_processes, load_config
from mmptq.runner.prepare_config import complete_config, save_packed
from mmptq.runner.probe import pipeline_probe
from mmptq.runner.random_model import random_model
from mmptq.targets import TARGETS, Target

_KEEP_DETECTIONS = dict(type="mmptq.KeepDetectionsHook")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scopes = "\n".join(f"  {name:14} {preset.summary}" for name, preset in SCOPES.items())
    parser.epilog = f"scopes (qconfig.scope):\n{scopes}"
    parser.add_argument("config", help="config of mmptq, or any of MMDetection's with --qconfig")
    parser.add_argument("--checkpoint", help="float weights, file or URL (default: load_from)")
    parser.add_argument("--qconfig", help="config file that says what is quantized")
    parser.add_argument(
        "--recipe",
        help="config file with calib_cfg (default: the config's, else GPTQ)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the stages finished in the work dir"
    )
    parser.add_argument("--skip-float", action="store_true", help="do not evaluate the float model")
    parser.add_argument("--skip-baseline", action="store_true", help="leave out the min-max row")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print every layer with its bits and scope, without touching weights or data",
    )
    parser.add_argument(
        "--packed",
        action="store_true",
        help="save quantized.pth with integer codes in place of float weights (also later, by "
        "tools/pack.py)",
    )
    parser.add_argument(
        "--keep-detections",
        action="store_true",
        help="keep every row's boxes in the work dir; needs one CocoMetric",
    )
    parser.add_argument(
        "--export",
        choices=list(TARGETS),
        metavar="TARGET",
        help=f"write quantized.onnx too, check it and add its row: {', '.join(TARGETS)}",
    )
    parser.add_argument(
        "--static",
        action="store_true",
        help="with --export: fix the images' number and size to the first one's, which Swin needs",
    )
    add_pareto_arguments(parser)
    add_common_arguments(parser)


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args, args.qconfig, args.recipe)
    if args.checkpoint:
        cfg.load_from = args.checkpoint
    cfg.resume = args.resume
    complete_config(cfg)
    if args.pareto is not None and args.export:
        raise ConfigError("--pareto makes many models: export one of them by tools/export.py")
    if args.static and not args.export:
        raise ConfigError("--static: says how to export, and needs --export TARGET")
    if args.skip_float:
        cfg.calib_cfg.eval_float = False
    if args.skip_baseline:
        cfg.calib_cfg.baseline = False
    if args.packed:
        save_packed(cfg)
    if args.keep_detections:
        cfg.calib_hooks = {**(cfg.get("calib_hooks") or {}), "detections": _KEEP_DETECTIONS}
    if args.dry_run:
        dry_run(cfg)
        return
    target = TARGETS[args.export] if args.export else None
    if target is not None:
        check_installed(target)
    init_processes(args.launcher)
    if args.pareto is not None:
        pareto(cfg, args.pareto, args.uniform)
        return
    runner = CalibrationRunner.from_cfg(cfg)
    runner.command = args.command_line
    results = runner.calibrate()
    if target is not None and runner.rank == 0:
        add_export(runner, results, target, args.static)


def add_export(
    runner: CalibrationRunner, results: Results, target: Target, static: bool = False
) -> None:
    """Export the quantized model, check it, and add a row to the results."""
    path = Path(runner.work_dir) / "quantized.onnx"
    found = export(runner, path, target, static=static)
    Console().print(found.table())
    try:
        found.raise_for_differences()
        results.add(runtime_row(runner, path, target, results.rows[-1]))
        results.to_json(Path(runner.work_dir) / "results.json")
    finally:  # also of a check that failed there is something to tell
        runner.call_hook("after_export")
    runner.logger.info(f"\n{results.to_text()}")


def dry_run(cfg: Config) -> None:
    """Print the plan of a model with random weights."""
    qconfig = QConfig.parse(cfg.qconfig)
    adapter = find_adapter(random_model(cfg))
    adapter.probe = pipeline_probe(cfg, adapter)
    plan = adapter.plan(qconfig)
    cost = model_cost(profile_model(adapter, adapter.probe.full_size), plan)
    Console().print(plan_table(plan, cost))
