"""A runner whose input is right: everything that a user can get wrong is tried in ``setup``."""

import copy
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmptq.adapters import Adapter, Probe, find_adapter
from mmptq.engine import (
    CalibrationContext,
    CalibrationSet,
    StageStore,
    check_activations,
    check_files,
    check_reached,
    check_task_loss,
    check_weights,
    load_float_checkpoint,
    plain_files,
    remove_leftovers,
)
from mmptq.errors import ConfigError
from mmptq.evaluation import profile_model
from mmptq.evaluation.test_set import describe_test_set
from mmptq.fileio import plain
from mmptq.models import QConfig, QuantModel
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
from mmptq.runner.fingerprint import stage_fingerprint
from mmptq.runner.measuring_runner import MeasuringRunner
from mmptq.runner.prepare_config import calibration_hooks, complete_config
from mmptq.runner.probe import pipeline_probe
from mmptq.runner.settings import CalibrationSettings

R = TypeVar("R", bound="CheckedRunner")
T = TypeVar("T")


class CheckedRunner(MeasuringRunner):
    """Reads and tries all that a calibration needs, before the first long stage.

    Until then the work dir holds what an earlier run left there.
    """

    model: QuantModel
    test_set: BaseDataset
    calibration_images: dict[str, Any]
    resume_stages = False
    command = ""  # line that called the run, if one did

    @classmethod
    def from_cfg(cls: type[R], cfg: Config) -> R:
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

    @property
    def measures(self) -> bool:
        """Whether there is anything to measure with."""
        return True

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

    def setup(self) -> CalibrationContext:
        """Check everything, read the calibration images, load the float weights.

        Raises:
            MmptqError: Something is wrong with the input.
        """
        start = time.perf_counter()
        # MMEngine builds a model to be trained: its batch norms would learn from what is checked.
        self.model.eval()
        self.adapter.probe = self._probe()
        self._load_float_weights()
        with float_model_on("the small random image that it is traced with"):
            self.plan = self.adapter.plan(self.qconfig)
        self.test_set = self._test_set()
        remove_leftovers(Path(self.work_dir) / "stages")
        data, check_images = self._calibration_sets()
        with float_model_on(data.paths[0]):
            check_activations(self.model, data)
        check_reached(self.model, self.plan, data)
        self._try_evaluator()
        self.profile = profile_model(self.adapter, self.adapter.probe.full_size)
        self._check_recipe(data)
        fingerprint = stage_fingerprint(self.cfg, self._float_checkpoint(), self.model)
        store = StageStore(Path(self.work_dir) / "stages", fingerprint, self.resume_stages)
        super().dump_config()
        self.logger.info(
            f"checked in {time.perf_counter() - start:.1f} s: float weights, plan, classes and "
            f"annotations, {len(data.paths)} calibration and {len(self.test_set)} test images, "
            "loader, loop, evaluator, the float model and what the recipe needs on one image each"
        )
        self.call_hook("before_run")
        return CalibrationContext(
            self.model,
            self.adapter,
            data,
            store,
            self.track,
            self.record,
            plain(self.cfg.qconfig),
            self.profile,
            check_images=check_images,
        )

    def _check_recipe(self, data: CalibrationSet) -> None:
        """Try what the recipe's steps need; the loss, on the first calibration image."""
        for step in self.settings.steps:
            if step.reads_accuracy and not self.measures:
                key = ".".join(filter(None, (type(step).__name__, step.accuracy_key)))
                raise ConfigError(f"{key}: nothing measures the model; give evaluate=")
            step.check_model(self.plan, self.profile, self.qconfig)
        if any(step.reads_loss for step in self.settings.steps):
            position, batch = next(iter(data))
            check_task_loss(self.adapter, batch, data.paths[position])

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

    def _probe(self) -> Probe:
        """The geometry of the model's inputs."""
        return pipeline_probe(self.cfg, self.adapter)

    def _try_evaluator(self) -> None:
        """Predict and evaluate on a few images."""
        try_evaluator(self.model, self._test_evaluator, self.test_set)

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

    def _calibration_sets(self) -> tuple[CalibrationSet, CalibrationSet | None]:
        """Read and check the calibration images, and those that judge what was learned of them."""
        dataset = self._calibration_dataset()
        self.adapter.check_dataset(dataset, "the calibration set")
        check_label_loader(dataset)
        check_classes(self.model.model, dataset, self.test_set)
        self._fit_to(len(dataset))
        settings = self.settings
        read = partial(
            CalibrationSet,
            dataset,
            seed=settings.seed,
            cache_gb=settings.cache_gb,
            folder=Path(self.work_dir) / "stages",
            batch_size=settings.batch_size,
        )
        data = read(num_images=settings.num_images)
        self._warn_about_overlap(data.paths)
        self.calibration_images = describe_test_set(dataset) | {"chosen": data.paths}
        left = len(dataset) - settings.num_images
        wanted = min(settings.images_to_judge, left)
        if settings.images_to_judge and not left:
            print_log(
                "the calibration images are all there are: none is left to judge what the recipe "
                "learns of them (calib_cfg.check_images)",
                logger="current",
            )
        return data, read(num_images=wanted, skip=settings.num_images) if wanted else None

    def _calibration_dataset(self) -> BaseDataset:
        return build_dataset(calibration_dataset_cfg(self.cfg), "the calibration set")

    def _warn_about_overlap(self, paths: list[str]) -> None:
        warn_about_overlap(paths, self.test_set)

    def _fit_to(self, size: int) -> None:
        """Take all images where there are fewer than the default, if nobody asked for others.

        The recipes' files give the default, too; it is nobody's wish there.
        """
        wanted = self.settings.num_images
        if wanted == CalibrationSettings.num_images and 0 < size < wanted:
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
