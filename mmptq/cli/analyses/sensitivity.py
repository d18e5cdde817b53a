"""Which quantizers hurt: one by one, by stage, and what spares the worst."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Group, RenderableType

from mmptq.algorithms import RangeCalibration
from mmptq.analysis import set_lp_ranges
from mmptq.analysis.sensitivity import (
    MeasureVariants,
    Sensitivity,
    SensitivityReport,
    Variant,
    add_metrics,
    measure_sensitivity,
    sum_by_stage,
    worst_first,
)
from mmptq.analysis.sensitivity.exclude import excluded_layers, ignored_scopes, sparing_qconfig
from mmptq.analysis.sensitivity.picture import draw_sensitivity
from mmptq.analysis.sensitivity.ranges import take_ranges
from mmptq.cli.analyses.base import Analysis, Arguments, Results, Run
from mmptq.cli.analyses.over_p import main_value
from mmptq.cli.analyses.sensitivity_tables import quantizers_table, ranking_table, stages_table
from mmptq.engine import OutputDistance
from mmptq.engine.data.float_checkpoint import is_quantized, load_checkpoint
from mmptq.errors import ConfigError
from mmptq.fileio import plain, save_json, save_text
from mmptq.models import Plan, QuantModel
from mmptq.registry import OBJECTIVES, build
from mmptq.runner.float_graph import float_graph
from mmptq.runner.variants import evaluate_variants


class SensitivityAnalysis(Analysis):
    """Sensitivity of each quantizer."""

    summary = "which quantizers hurt: estimated from one pass, measured one by one, summed by stage"
    bits = ""
    objective = "OutputDistance"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """How much is measured, and what comes of it."""
        add = parser.add_argument
        add(
            "--distance-images",
            type=int,
            default=4,
            metavar="N",
            help="images of the distances measured with one quantizer on, and with all but one; "
            "0 leaves them out (default: %(default)s; the estimate is over all --images)",
        )
        add(
            "--probes",
            type=int,
            default=1,
            choices=(1, 2, 3),
            help="backward passes an image of the estimate (default: %(default)s)",
        )
        add(
            "--top-k",
            type=int,
            default=0,
            metavar="K",
            help="measure the metric, too, with each of the K worst alone quantized, and with all "
            "but it, in two passes over the test set (default: none)",
        )
        add(
            "--subset",
            metavar="FILE",
            help="annotation file in place of the test set's, for --top-k on fewer images",
        )
        add(
            "--worst",
            type=int,
            default=5,
            metavar="N",
            help="how many quantizers the overrides and exclusion lists spare (default: 5)",
        )
        add(
            "--onnx",
            type=Path,
            metavar="FILE",
            help="write the float ONNX graph, too, whose nodes the exclusion lists name",
        )

    def check(self, args: Arguments) -> None:
        """Numbers, the objective, and what --checkpoint is."""
        for key, value, least in (
            ("--distance-images", args.distance_images, 0),
            ("--top-k", args.top_k, 0),
            ("--worst", args.worst, 1),
        ):
            if value < least:
                raise ConfigError(f"{key} {value}: must be {least} or more")
        if args.onnx and importlib.util.find_spec("onnx") is None:
            raise ConfigError(f"--onnx {args.onnx}: needs onnx; pip install 'mmptq[onnx]'")
        if args.onnx and not args.onnx.resolve().parent.is_dir():
            raise ConfigError(f"--onnx {args.onnx}: there is no folder {args.onnx.parent}")
        built = build(OBJECTIVES, {"type": args.objective}, "--objective")
        if not isinstance(built, OutputDistance):
            raise ConfigError(
                f"--objective {args.objective}: sensitivity is a distance of the heads' outputs; "
                "use 'OutputDistance' or 'LastStageDistance'"
            )
        args.quantized = None
        if args.checkpoint and is_quantized(args.checkpoint):
            # The float weights are the config's then.
            args.quantized, args.checkpoint = args.checkpoint, None

    def change_config(self, args: Arguments, cfg: Config) -> None:
        """Evaluate on another list of images."""
        if args.subset is None:
            return
        if not Path(args.subset).is_file():
            raise ConfigError(f"--subset {args.subset}: there is no such file")
        path = str(Path(args.subset).resolve())
        evaluators = cfg.test_evaluator
        listed = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
        for holder in (cfg.test_dataloader.dataset, *listed):
            if "ann_file" in holder:
                holder.ann_file = path

    def prepare(self, run: Run) -> None:
        """Ranges of the checkpoint, of the config's range step, or MMSE."""
        runner, context, args = run.runner, run.context, run.args
        source = _quantized_model(run) if args.quantized else None
        if source is not None:
            assert source.plan is not None
            runner.plan = source.plan
        _check_counts(args, runner.plan)
        if source is None:
            runner.prepare_model(context)
            _find_ranges(run)
            return
        context.model.prepare(runner.plan)
        take_ranges(context.model, source, args.quantized)
        if args.bits:
            _set_bits(run)

    def measure(self, run: Run, results: Results) -> None:
        """All measures of one bit-width; the lists of what to spare."""
        args, runner, context = run.args, run.runner, run.context
        macs = {layer.name: layer.macs for layer in runner.profile.layers}
        images = min(args.distance_images, len(context.data.paths))
        report = measure_sensitivity(
            context, macs, run.objective, images, args.probes, args.cache_gb
        )
        if args.top_k:
            what = {"metric": "test set", "subset": args.subset}
            report = add_metrics(report, context, _measure_variants(run), args.top_k, what)
        worst = worst_first(report.records)[: args.worst]
        plan = context.model.plan
        assert plan is not None
        qconfig = sparing_qconfig(worst, plan, plain(runner.cfg.qconfig))
        results[run.label] = {
            **report.to_dict(),
            "stages": [vars(stage) for stage in sum_by_stage(report.records)],
            "sparing": {"qconfig": qconfig, **_exclusions(run, worst, plan)},
        }

    def show(self, args: Arguments, results: Results, path: Path) -> RenderableType:
        """Bars of quantizers and stages, the ranking's worth, and the files that were written."""
        reports = {label: SensitivityReport.from_dict(found) for label, found in results.items()}
        draw_sensitivity(reports, path)
        shown: list[RenderableType] = []
        for label, report in reports.items():
            shown += [
                quantizers_table(label, report),
                stages_table(label, report),
                ranking_table(label, report),
            ]
            shown += _written(label, results[label]["sparing"], path)
        return Group(*shown)


def _measure_variants(run: Run) -> MeasureVariants:
    """The main metric of each variant."""

    def measure(variants: Sequence[Variant], name: str) -> list[float]:
        found = evaluate_variants(run.runner, variants, name, run.args.cache_gb)
        return [main_value(metrics) for metrics in found]

    return measure


def _exclusions(run: Run, worst: Sequence[Sensitivity], plan: Plan) -> dict[str, Any]:
    """What spares the worst in other tools; the graph that it is for, where it is asked for."""
    layers = excluded_layers(worst, plan)
    exported = float_graph(run.runner)
    if exported is None:
        return ignored_scopes(layers, None)
    from mmptq.export.export import write
    from mmptq.export.nodes import nodes_by_layer, nodes_making_inputs, nodes_touching_inputs

    if run.args.onnx:
        write(exported, run.args.onnx)
    nodes = nodes_by_layer(exported.graph, layers)
    readers = excluded_layers([record for record in worst if record.which == "act"], plan)
    reading = [node for layer in readers for node in nodes[layer]]
    making = nodes_making_inputs(exported.graph, reading)
    return ignored_scopes(layers, nodes, making, nodes_touching_inputs(exported.graph, reading))


def _quantized_model(run: Run) -> QuantModel:
    """That of the checkpoint, checked to be of the config's model."""
    runner = run.runner
    source: Any = runner.build_model(runner.cfg.model)
    load_checkpoint(source, run.args.quantized, runner.cfg.get("checkpoint_key"))
    return source.eval()


def _check_counts(args: Arguments, plan: Plan) -> None:
    count = len(plan.sites) + sum(layer.weight is not None for layer in plan.layers)
    for key, value in (("--top-k", args.top_k), ("--worst", args.worst)):
        if value > count:
            raise ConfigError(f"{key} {value}: the model has {count} quantizers")


def _find_ranges(run: Run) -> None:
    steps = [step for step in run.runner.settings.steps if isinstance(step, RangeCalibration)]
    if steps:
        steps[0].run(run.context)
    else:
        set_lp_ranges(run.context, 2.0)


def _set_bits(run: Run) -> None:
    """All quantizers of a checkpoint at the bits that were asked for, with their ranges."""
    model = run.context.model
    for quantizers, bits in (
        (model.weight_quantizers().values(), run.bits.weight),
        (model.sites.values(), run.bits.act),
    ):
        for quantizer in quantizers:
            quantizer.set_num_bits(bits)


def _written(label: str, sparing: dict[str, Any], path: Path) -> list[str]:
    """Write what spares the worst; lines that say where."""
    qconfig = path.with_name(f"{path.stem}_{label.lower()}_overrides.py")
    scopes = path.with_name(f"{path.stem}_{label.lower()}_exclude.json")
    save_text(qconfig, Config({"qconfig": sparing["qconfig"]}).pretty_text)
    content = {key: value for key, value in sparing.items() if key != "qconfig"}
    save_json(scopes, content)
    return [
        f"more bits for the worst: --qconfig {qconfig}",
        f"NNCF's ignored scope, ONNX Runtime's nodes_to_exclude: {scopes} "
        f"(names of {sparing['names_are']})",
    ]
