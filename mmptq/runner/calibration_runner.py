"""From float weights to a quantized checkpoint, with the mAP before and after."""

import copy
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.runner import set_random_seed

from mmptq.adapters import Adapter, find_adapter
from mmptq.algorithms import RangeCalibration
from mmptq.algorithms.base import Step
from mmptq.engine import (
    CalibrationContext,
    CalibrationSet,
    StageStore,
    check_activations,
    check_files,
    check_task_loss,
    check_weights,
    load_float_checkpoint,
    plain_files,
    remove_leftovers,
)
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.evaluation import (
    FLOAT_METHOD,
    ResultRow,
    Results,
    model_cost,
    profile_model,
)
from mmptq.evaluation.row import count_vanished, plain_metrics
from mmptq.fileio import plain
from mmptq.models import QConfig, QuantModel
from mmptq.registry import RUNNERS
from mmptq.runner.calib_dataset import (
    build_dataset,
    calibration_dataset_cfg,
    check_label_loader,
    warn_about_overlap,
)
from mmptq.runner.checks import (
    check_classes,
    check_truth,
    check_writable,
    float_model_on,
    try_evaluator,
)
from mmptq.runner.explain import explain_collapse
from mmptq.runner.fingerprint import stage_fingerprint
from mmptq.runner.measuring_runner import MeasuringRunner
from mmptq.runner.prepare_config import calibration_hooks, complete_config
from mmptq.runner.probe import pipeline_probe
from mmptq.runner.settings import CalibrationSettings

T = TypeVar("T")

BASELINE = "minmax"


@RUNNERS.register_module()
class CalibrationRunner(MeasuringRunner):
    """A Runner with :meth:`calibrate`.

    Everything that a user can get wrong is checked before the first long stage. Every finished
    stage is kept in ``<work_dir>/stages``; with ``resume`` a killed run goes on and ends in the
    same result.
    """

    model: QuantModel
    test_set: BaseDataset
    resume_stages = False

    @classmethod
    def from_cfg(cls, cfg: Config) -> "CalibrationRunner":
        """Build from an MMEngine config; a plain detector is wrapped.

        Raises:
            ConfigError: The config cannot work; names the key, the value and the fix.
        """
        cfg = copy.deepcopy(cfg)
        complete_config(cfg)
        QConfig.parse(cfg.qconfig)
        CalibrationSettings.parse(cfg.calib_cfg)
        check_writable(cfg.work_dir)
        hooks = calibration_hooks(cfg)
        runner = super().from_cfg(cfg)
        runner.resume_stages = bool(cfg.get("resume"))
        for hook, priority in hooks:
            runner.register_hook(hook, priority)
        return runner

    def dump_config(self) -> None:
        """Nothing yet: a run that is refused must not replace the config of an earlier one."""

    @cached_property
    def settings(self) -> CalibrationSettings:
        """The parsed ``calib_cfg``."""
        return CalibrationSettings.parse(self.cfg.calib_cfg)

    @cached_property
    def qconfig(self) -> QConfig:
        """The parsed ``qconfig``."""
        return QConfig.parse(self.cfg.qconfig)

    @cached_property
    def adapter(self) -> Adapter:
        """The adapter of the model's family."""
        adapter = find_adapter(self.model.model)
        adapter.set_units(self.settings.units)
        if self.settings.batch_size > 1 and not adapter.batched:
            raise ConfigError(
                f"calib_cfg.batch_size = {self.settings.batch_size}: a "
                f"{type(self.model.model).__name__} calibrates on one image at a time"
            )
        return adapter

    def calibrate(self) -> Results:
        """Quantize the model and measure it.

        Returns:
            One row a method: float, naive min-max, the recipe.

        Raises:
            MmptqError: A subclass of it, about the input, before any long work; or later when the
                disk is full or NaN turns up. Finished stages are kept.
        """
        context = self.setup()
        results = Results(
            config=str(self.cfg.filename),
            float_checkpoint=self._float_checkpoint(),
            calibration=plain(self.cfg.calib_cfg) | {"qconfig": plain(self.cfg.qconfig)},
        )
        self.call_hook("before_calibrate")
        self._float_row(results, context)
        self.prepare_model(context)
        self._baseline_row(results, context)
        self._recipe_row(results, context)
        if self.rank == 0:
            results.to_json(Path(self.work_dir) / "results.json")
        self.call_hook("after_calibrate", results=results)
        self.call_hook("after_run")
        self.logger.info(f"\n{results.to_text()}")
        explain_collapse(context, results, self.cfg.qconfig, self.work_dir)
        return results

    def setup(self) -> CalibrationContext:
        """Check everything, read the calibration images, load the float weights.

        Raises:
            MmptqError: Something is wrong with the input.
        """
        # MMEngine builds a model to be trained: its batch norms would learn from what is checked.
        self.model.eval()
        self.adapter.probe = pipeline_probe(self.cfg, self.adapter)
        self._load_float_weights()
        with float_model_on("the small random image that it is traced with"):
            self.plan = self.adapter.plan(self.qconfig)
        test_set = self._test_set()
        remove_leftovers(Path(self.work_dir) / "stages")
        data = self._calibration_set(test_set)
        with float_model_on(data.paths[0]):
            check_activations(self.model, data)
        try_evaluator(self.model, self._test_evaluator, test_set)
        self._check_recipe(data)
        self.profile = profile_model(self.adapter, self.adapter.probe.full_size)
        fingerprint = stage_fingerprint(self.cfg, self._float_checkpoint(), self.model)
        store = StageStore(Path(self.work_dir) / "stages", fingerprint, self.resume_stages)
        super().dump_config()
        self.call_hook("before_run")
        return CalibrationContext(self.model, self.adapter, data, store, self.track, self.record)

    def _check_recipe(self, data: CalibrationSet) -> None:
        """Try what the recipe's steps need, on the first calibration image."""
        if any(step.reads_loss for step in self.settings.steps):
            position, batch = next(iter(data))
            check_task_loss(self.adapter, batch, data.paths[position])

    def prepare_model(self, context: CalibrationContext) -> None:
        """Give the model its quantized form and collect the float activations' statistics."""
        self.model.prepare(self.plan)
        context.activation_statistics()

    def track(self, items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
        """Yield ``items`` and tell the hooks how far it is."""
        total = len(items) if total is None else total  # type: ignore[arg-type]
        self.call_hook("before_calib_task", name=name, total=total)
        for index, item in enumerate(items):
            yield item
            self.call_hook("after_calib_iter", name=name, index=index)
        self.call_hook("after_calib_task", name=name)

    def record(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Hand numbers of a running step to the hooks."""
        self.call_hook("after_calib_record", tag=tag, values=values, step=step)

    def evaluate(self, method: str) -> dict[str, float]:
        """The test evaluator's metrics of the model as it is now.

        Raises:
            CalibrationDataError: A test image cannot be decoded.
        """
        self.method = method
        try:
            return plain_metrics(self.test_loop.run())
        except AssertionError as error:  # mmcv's; a worker process hands it on with its traceback
            reason = str(error).splitlines()[-1]
            if "failed to load image" not in reason:
                raise
            raise CalibrationDataError(
                f"evaluation on test_dataloader: {reason}; replace or remove the file, then go on "
                "with --resume"
            ) from error

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
        seconds = self._run_recipe(context)
        if not store.has("metrics_recipe"):
            store.save("metrics_recipe", {"metrics": self.evaluate(method), "seconds": seconds})
        self._add_row(results, self._quantized_row(method, context, "metrics_recipe"))

    def _run_recipe(self, context: CalibrationContext) -> float:
        """Run or reload the steps; the seconds that they took."""
        stages = [f"step_{i:02d}_{type(s).__name__}" for i, s in enumerate(self.settings.steps)]
        done = max((i for i, stage in enumerate(stages) if context.store.has(stage)), default=-1)
        seconds = 0.0
        if done >= 0:
            saved = context.store.load(stages[done])
            self.model.load_state_dict(saved["state"])
            seconds = saved["seconds"]
        for index in range(done + 1, len(stages)):
            seconds += self._run_step(self.settings.steps[index], context, index)
            state = {"state": self.model.state_dict(), "seconds": seconds}
            context.store.save(stages[index], state)
            if index > 0:
                context.store.drop(stages[index - 1])
        return seconds

    def _run_step(self, step: Step, context: CalibrationContext, index: int) -> float:
        # Every step starts from its own seed, so that a resumed run draws the same numbers.
        set_random_seed(self.settings.seed + index)
        start = time.perf_counter()
        step.run(context)
        return time.perf_counter() - start

    def _quantized_row(self, method: str, context: CalibrationContext, stage: str) -> ResultRow:
        measured, qconfig = context.store.load(stage), self.qconfig
        cost = model_cost(self.profile, self.plan)
        return ResultRow(
            method,
            qconfig.scope,
            qconfig.weight.num_bits if qconfig.weight else 32,
            qconfig.act.num_bits if qconfig.act else 32,
            metrics=measured["metrics"],
            size_mb=cost.size_mb,
            gbops=cost.gbops,
            seconds=context.statistics_seconds + measured["seconds"],
            images=self.settings.num_images,
            mac_share=cost.mac_share,
        )

    def _add_row(self, results: Results, row: ResultRow) -> None:
        results.add(row)
        if row.method in count_vanished(results.rows) or not (row.metrics or row.is_float):
            self.logger.warning(
                f"{row.method} {row.bits}: metrics are missing, as MMDetection leaves them out "
                "where a model detects nothing at all; they count as 0"
            )
        self.call_hook("after_calib_eval", row=row)

    def _load_float_weights(self) -> None:
        load_float_checkpoint(self.model, self._float_checkpoint(), self.cfg.get("checkpoint_key"))
        check_weights(self.model)

    def _test_set(self) -> BaseDataset:
        """Read and check the test set, and build what evaluates on it, once for all rows."""
        test_set = build_dataset(copy.deepcopy(self.cfg.test_dataloader["dataset"]), "the test set")
        check_files(plain_files(test_set, range(len(test_set))))
        self.adapter.check_dataset(test_set, "the test set")
        self.build_test(test_set)
        check_truth(self._test_evaluator, test_set)
        return test_set

    def _calibration_set(self, test_set: BaseDataset) -> CalibrationSet:
        """Read and check the calibration images."""
        dataset = build_dataset(calibration_dataset_cfg(self.cfg), "the calibration set")
        self.adapter.check_dataset(dataset, "the calibration set")
        check_label_loader(dataset)
        check_classes(self.model.model, dataset, test_set)
        self._fit_to(len(dataset))
        data = CalibrationSet(
            dataset,
            self.settings.num_images,
            self.settings.seed,
            self.settings.cache_gb,
            Path(self.work_dir) / "stages",
            self.settings.batch_size,
        )
        warn_about_overlap(data.paths, test_set)
        return data

    def _fit_to(self, size: int) -> None:
        """Take all images where there are fewer than the default, unless a number is asked for."""
        wanted = self.settings.num_images
        if "num_images" not in self.cfg.calib_cfg and 0 < size < wanted:
            print_log(
                f"the calibration set has {size} images, fewer than the default of {wanted}: all "
                "are taken",
                logger="current",
                level=logging.WARNING,
            )
            self.settings = replace(self.settings, num_images=size)

    def _float_checkpoint(self) -> str:
        path = self._load_from
        if not path:
            raise ConfigError("load_from is not set: give the float weights by --checkpoint")
        return str(path)
