"""From float weights to a quantized checkpoint, with the mAP before and after."""

import time
from pathlib import Path
from typing import Any, TypeVar

from mmengine.runner import set_random_seed

from mmptq.algorithms import RangeCalibration
from mmptq.algorithms.base import Step
from mmptq.engine import CalibrationContext
from mmptq.evaluation import FLOAT_METHOD, ModelCost, ResultRow, Results, model_cost
from mmptq.evaluation.cost import FLOAT_BITS
from mmptq.evaluation.row import count_vanished, plain_metrics
from mmptq.evaluation.test_set import describe_test_set
from mmptq.evaluation.verdict import Verdict
from mmptq.fileio import plain
from mmptq.models import PLAN_KEY, Plan
from mmptq.registry import RUNNERS
from mmptq.runner.checked_runner import CheckedRunner
from mmptq.runner.explain import explain_collapse
from mmptq.runner.judging import judge
from mmptq.runner.main_metric import MainMetric
from mmptq.runner.measuring_runner import undecodable_named

T = TypeVar("T")

BASELINE = "minmax"


@RUNNERS.register_module()
class CalibrationRunner(CheckedRunner):
    """A Runner with :meth:`calibrate`.

    Every finished stage is kept in ``<work_dir>/stages``; with ``resume`` a killed run goes on and
    ends in the same result.
    """

    # What images that no step saw say of each step that learns.
    verdicts: tuple[Verdict, ...] = ()

    def calibrate(self) -> Results:
        """Quantize the model and measure it.

        Returns:
            One row a method: float, naive min-max, the recipe.

        Raises:
            MmptqError: A subclass of it, about the input, before any long work; or later when the
                disk is full or NaN turns up. Finished stages are kept.
        """
        context = self.setup()
        if self.measures:
            context.accuracy = MainMetric(self, context.store)
        results = Results(
            config=str(self.cfg.filename or self._float_checkpoint()),
            float_checkpoint=self._float_checkpoint(),
            calibration=self._calibration(),
            test=describe_test_set(self.test_set),
        )
        self.call_hook("before_calibrate")
        self._float_row(results, context)
        self.prepare_model(context)
        self._baseline_row(results, context)
        self._recipe_row(results, context)
        results.calibration["verdicts"] = [verdict.to_json() for verdict in self.verdicts]
        if self.rank == 0:
            results.to_json(Path(self.work_dir) / "results.json")
        self.call_hook("after_calibrate", results=results)
        self.logger.info(f"\n{results.to_text()}")
        for verdict in self.verdicts:
            if not verdict.kept:
                self.logger.warning(f"{self.settings.method}: {verdict}")
        lines = explain_collapse(context, results, self.cfg.qconfig, self.work_dir)
        self.call_hook("after_explain", lines=lines)
        self.model.set_float_weights({})
        self.call_hook("after_run")
        return results

    def prepare_model(self, context: CalibrationContext) -> None:
        """Give the model its quantized form and collect the float activations' statistics."""
        self.model.prepare(self.plan)
        context.activation_statistics()

    def run_recipe(self, context: CalibrationContext) -> float:
        """Run the steps on the prepared model, or reload what is finished of them.

        Returns:
            Seconds that they took, those of earlier attempts included.
        """
        steps, store = self.settings.steps, context.store
        stages = [f"step_{i:02d}_{type(s).__name__}" for i, s in enumerate(steps)]
        done = max((i for i, stage in enumerate(stages) if store.has(stage)), default=-1)
        seconds = 0.0
        if done >= 0:
            saved = store.load(stages[done])
            # A finished step may have chosen other bit-widths than the qconfig's.
            self.model.set_bits(Plan.from_tensor(saved["state"][PLAN_KEY]))
            self.model.load_state_dict(saved["state"])
            self.model.set_float_weights(saved.get("float_weights", {}))
            seconds = saved["seconds"]
            self.verdicts = tuple(map(Verdict.from_json, saved.get("verdicts", ())))
        for index, (step, stage) in enumerate(zip(steps, stages, strict=True)):
            if index > done:
                seconds += self._run_step(step, context, index)
                store.save(stage, self._stage(seconds))
                if index > 0:
                    store.drop(stages[index - 1])
            if step.changes_activations:
                context.collect_again(f"statistics_{index:02d}")
        return seconds

    def _stage(self, seconds: float) -> dict[str, Any]:
        """What a finished step leaves to those behind it."""
        return {
            "state": self.model.state_dict(),
            "float_weights": self.model.float_weights(),
            "seconds": seconds,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }

    def evaluate(self, method: str) -> dict[str, float]:
        """The test evaluator's metrics of the model as it is now.

        Raises:
            CalibrationDataError: A test image cannot be decoded.
        """
        self.method = method
        with undecodable_named():
            return plain_metrics(self.test_loop.run())

    def _calibration(self) -> dict[str, Any]:
        """What the results say about the calibration."""
        labels = any(step.reads_labels for step in self.settings.steps)
        found = plain(self.cfg.calib_cfg) | {"qconfig": plain(self.cfg.qconfig)}
        return found | {"seed": self.settings.seed, "labels": labels}

    def _float_row(self, results: Results, context: CalibrationContext) -> None:
        cost, store = model_cost(self.profile), context.store
        row = ResultRow(FLOAT_METHOD, "-", 32, 32, size_mb=cost.float_size_mb, gbops=cost.gbops)
        if self.settings.eval_float:
            row.metrics = store.once("metrics_float", lambda: self.evaluate(FLOAT_METHOD))
        self._add_row(results, row)

    def _baseline_row(self, results: Results, context: CalibrationContext) -> None:
        if not self.settings.baseline or self.settings.method == BASELINE:
            return
        store = context.store
        if not store.has("metrics_minmax"):
            seconds = self._run_step(RangeCalibration(), context, 0)
            metrics = self.evaluate(BASELINE)
            store.save("metrics_minmax", {"metrics": metrics, "seconds": seconds})
        self._add_row(results, self._quantized_row(BASELINE, context, "metrics_minmax"))

    def _recipe_row(self, results: Results, context: CalibrationContext) -> None:
        store, method = context.store, self.settings.method
        seconds = self.run_recipe(context)
        if not store.has("metrics_recipe"):
            store.save("metrics_recipe", {"metrics": self.evaluate(method), "seconds": seconds})
        self._add_row(results, self._quantized_row(method, context, "metrics_recipe"))

    def _run_step(self, step: Step, context: CalibrationContext, index: int) -> float:
        start = time.perf_counter()
        judged = judge(step, context)
        # Every step starts from its own seed, so that a resumed run draws the same numbers.
        set_random_seed(self.settings.seed + index)
        step.run(context)
        if judged is not None:
            self.verdicts = (*self.verdicts, judged.verdict())
        return time.perf_counter() - start

    def _quantized_row(self, method: str, context: CalibrationContext, stage: str) -> ResultRow:
        measured = context.store.load(stage)
        assert self.model.plan is not None
        cost = model_cost(self.profile, self.model.plan)
        return ResultRow(
            method,
            self.qconfig.scope,
            *self._bits(cost),
            metrics=measured["metrics"],
            size_mb=cost.size_mb,
            gbops=cost.gbops,
            seconds=context.statistics_seconds + measured["seconds"],
            images=self.settings.num_images,
            mac_share=cost.mac_share,
        )

    def _bits(self, cost: ModelCost) -> tuple[float, float]:
        """The row's bit-widths of weights and activations."""
        if self.model.plan != self.plan:  # a step has chosen others
            return cost.mean_bits()
        specs = (self.qconfig.weight, self.qconfig.act)
        weight, act = (FLOAT_BITS if spec is None else spec.num_bits for spec in specs)
        return weight, act

    def _add_row(self, results: Results, row: ResultRow) -> None:
        results.add(row)
        vanished = row.method in count_vanished(results.rows)
        if self.measures and (vanished or not (row.metrics or row.is_float)):
            self.logger.warning(
                f"{row.method} {row.bits}: metrics are missing, as MMDetection leaves them out "
                "where a model detects nothing at all; they count as 0"
            )
        self.call_hook("after_calib_eval", row=row)
