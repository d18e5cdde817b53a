"""Results into the log and MMEngine's visualizer backends."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from mmptq.evaluation import ModelCost, ResultRow, model_cost
from mmptq.models import Plan, TensorSpec
from mmptq.registry import HOOKS

ENOUGH = 0.99  # share of the multiply-adds below which what is left in float is a warning


@HOOKS.register_module()
class CalibrationLoggingHook(Hook):
    """Logs what is quantized and each row, whose numbers go to the visualizer's backends, too.

    Scalars of rows are tagged ``<method>/<metric>``, their step is the number of the row. What a
    running step records goes there at once, tagged ``<step>/<part>/<quantity>`` over its
    iterations. The config is there already: MMEngine's Runner hands it to the backends.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._described = False

    def before_calibrate(self, runner: Any) -> None:
        """Log how much is going to be quantized, and warn where much is not."""
        if is_main_process():
            cost = model_cost(runner.profile, runner.plan)
            level = logging.INFO if cost.mac_share >= ENOUGH else logging.WARNING
            print_log(describe_share(cost), logger="current", level=level)

    def after_calib_eval(self, runner: Any, row: ResultRow) -> None:
        """Log ``row``, and the plan beside the first row that has one."""
        if not is_main_process():
            return
        self._describe_plan(runner)
        scalars = row_scalars(row)
        text = "  ".join(f"{name}={value:.6g}" for name, value in scalars.items())
        print_log(f"{row.method} ({row.scope}, {row.bits}): {text}", logger="current")
        if scalars:
            tagged = {f"{row.method}/{name}": value for name, value in scalars.items()}
            runner.visualizer.add_scalars(tagged, step=self._rows)
        self._rows += 1

    def after_calib_record(
        self, runner: Any, tag: str, values: Mapping[str, float], step: int
    ) -> None:
        """Hand the numbers of a running step to the backends."""
        if is_main_process():
            tagged = {f"{tag}/{name}": value for name, value in values.items()}
            runner.visualizer.add_scalars(tagged, step=step)

    def _describe_plan(self, runner: Any) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        plan = getattr(model, "plan", None)
        if plan is not None and not self._described:
            self._described = True
            print_log(describe_plan(plan), logger="current")


def describe_share(cost: ModelCost) -> str:
    """One line: how much of the multiplications is quantized, and what the rest is."""
    text = f"both operands of {100 * cost.mac_share:.1f} % of the multiply-adds are quantized"
    left = cost.describe_float()
    return f"{text}; in float are {left}" if left else text


def row_scalars(row: ResultRow) -> dict[str, float]:
    """All numbers of a row that there are."""
    costs = {name: getattr(row, name) for name in ("size_mb", "gbops", "seconds", "images")}
    return {**row.metrics, **{name: value for name, value in costs.items() if value is not None}}


def describe_plan(plan: Plan) -> str:
    """One line: how many weights and inputs are quantized to how many bits."""
    sites = {site.name: site.spec for site in plan.sites}
    layers = [x for x in plan.layers if x.host == x.name]
    inputs = [None if x.inputs[0] is None else sites[x.inputs[0]] for x in layers]
    outputs = len(plan.layers) - len(layers)
    return (
        f"quantization plan, scope {plan.scope}: {len(layers)} layers; weights "
        f"{_tally([x.weight for x in layers])}; inputs {_tally(inputs)}"
        f"{f' and outputs of {outputs} layers' if outputs else ''} through "
        f"{len(sites)} quantizers; {len(plan.folds)} batch norms folded"
    )


def _tally(specs: list[TensorSpec | None]) -> str:
    names = ["float" if s is None else f"{s.num_bits:g} bit" for s in specs]
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
