"""What the reconstruction methods share: going through the units, resuming, reporting."""

import dataclasses
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mmptq.algorithms.base import Step
from mmptq.algorithms.reconstruction.checks import (
    check_images,
    check_ranges,
    parse_cache,
    reconstructing,
)
from mmptq.algorithms.reconstruction.fisher import add_fisher_weights
from mmptq.algorithms.reconstruction.output_fisher import output_metrics
from mmptq.algorithms.reconstruction.progress import Progress
from mmptq.algorithms.reconstruction.report import Report, UnitReport
from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.storage.memory import keep_freed_memory
from mmptq.engine.units.capture import UnitCapture
from mmptq.engine.units.reconstruction import Group, LoopSettings, Policy, UnitLoop
from mmptq.engine.units.unit_data import UnitData
from mmptq.engine.units.unit_problem import TrainedForm, UnitProblem
from mmptq.engine.units.units import Unit, find_units
from mmptq.errors import ConfigError
from mmptq.models import QuantModel

# Learning rates grow as iterations shrink, so that about the same way can be gone.
PRESETS: dict[str, dict[str, Any]] = {
    "published": {"iters": 20000, "batch_size": 2},
    "fast": {"iters": 300, "batch_size": 8},
}

PRECISIONS = ("float32", "bfloat16", "float16")


class Reconstruction(Step):
    """Adjusts the units of the model one after another, so that each gives the float one's output.

    A unit's input is what the finished units before it give; its target is the float model's
    output. A unit that ends worse than it began, on the probe images, is left as it was.

    Ranges must be set by an earlier step. Logs, plots and a summary go to
    ``<work_dir>/reconstruction/``. A run that was killed goes on within the unit.

    Args:
        preset: ``'published'`` or ``'fast'``: defaults of ``iters``, ``batch_size`` and learning
            rates.
        iters: Iterations a unit.
        batch_size: Images in a mini-batch, of each process.
        accumulate: Parts of a mini-batch computed one after another, to save memory.
        precision: ``'float32'``, or in mixed precision ``'bfloat16'`` or ``'float16'``.
        probe_images: Images on which a unit's loss is measured, of each process.
        cache: ``dict(max_gb=4.0, dtype='float32' or 'float16', device=None)``: where captured
            activations are kept.
        log_interval: Iterations between two log rows; by default a 40th of ``iters``.
        checkpoint_interval: Iterations between two snapshots within a unit.
        fisher: Weigh differences by what they do to the model. ``'outputs'``: to its outputs,
            channel by channel and with their products
            (:mod:`~mmptq.algorithms.reconstruction.output_fisher`). ``True``: each squared
            difference by the squared gradient of the task loss in the unit's float output (the
            diagonal of the Fisher information, Li et al. 2021, eq. 10); needs labels.
        crop: Outputs a side (at least) of the random crops on which a unit is adjusted, where it
            does the same at every position; the others, and all with ``None``, on whole maps.

    Raises:
        ConfigError: An argument that cannot work.
    """

    granularity = "block"
    # Whether activations are quantized while units are adjusted.
    activations = True

    replaces_weights = True
    needs_float_weights = True

    def __init__(
        self,
        preset: str = "published",
        iters: int | None = None,
        batch_size: int | None = None,
        accumulate: int = 1,
        precision: str = "float32",
        probe_images: int = 8,
        cache: Mapping[str, Any] | None = None,
        log_interval: int | None = None,
        checkpoint_interval: int = 2000,
        crop: int | None = None,
        fisher: bool | str = False,
    ) -> None:
        defaults = self.defaults(preset)
        self.iters = defaults["iters"] if iters is None else iters
        self.batch_size = defaults["batch_size"] if batch_size is None else batch_size
        self.accumulate, self.probe_images = accumulate, probe_images
        known = precision in PRECISIONS
        self.check("precision", precision, known, f"one of {', '.join(PRECISIONS)}")
        self.precision = precision
        self.cache = parse_cache(cache or {})
        self.checkpoint_interval = checkpoint_interval
        counts = {
            "iters": self.iters,
            "batch_size": self.batch_size,
            "accumulate": accumulate,
            "probe_images": probe_images,
            "checkpoint_interval": checkpoint_interval,
        }
        for name, value in counts.items():
            self.check(name, value, isinstance(value, int) and value >= 1, "a whole number from 1")
        whole = isinstance(crop, int) and not isinstance(crop, bool) and crop >= 1
        self.check("crop", crop, crop is None or whole, "a whole number from 1, or None")
        self.crop = crop
        known = isinstance(fisher, bool) or fisher == "outputs"
        self.check("fisher", fisher, known, "'outputs', True or False")
        self.fisher = fisher
        self.log_interval = log_interval or max(self.iters // 40, 1)

    @property
    def reads_loss(self) -> bool:
        """For its gradients, if they are asked for; regions are then sampled as in training."""
        return self.fisher is True

    @property
    def judged_by(self) -> Mapping[str, Any]:
        """The outputs that predictions are made of; units know nothing of them."""
        return {"type": "LastStageDistance"}

    def defaults(self, preset: str) -> dict[str, Any]:
        """What ``preset`` stands for.

        Raises:
            ConfigError: It is unknown.
        """
        self.check("preset", preset, preset in PRESETS, f"one of {', '.join(PRESETS)}")
        return PRESETS[preset]

    def check(self, name: str, value: Any, right: bool, wanted: str) -> None:
        """Make sure that an argument is right.

        Raises:
            ConfigError: It is not.
        """
        if not right:
            raise ConfigError(f"{type(self).__name__}.{name} = {value!r}: must be {wanted}")

    @abstractmethod
    def trained_form(self, model: QuantModel, unit: Unit) -> TrainedForm:
        """Trainable quantizers of a unit."""

    @abstractmethod
    def groups(self, form: TrainedForm) -> list[Group]:
        """What is adjusted, and how fast."""

    def policy(self, problem: UnitProblem, probe: list[int]) -> Policy:
        """What is decided in each iteration; called with the trainable form attached."""
        return Policy()

    def loop_settings(self) -> LoopSettings:
        """Of each unit's loop."""
        return LoopSettings(
            self.iters,
            self.batch_size,
            self.accumulate,
            precision=self.precision,
            log_interval=self.log_interval,
            checkpoint_interval=self.checkpoint_interval,
        )

    def run(self, context: CalibrationContext) -> None:
        """Adjust every unit of the model."""
        model = context.model
        check_ranges(model, type(self).__name__)
        check_images(context)
        model.eval()
        keep_freed_memory()
        if self.replaces_weights:  # corrections refer to the weights before
            model.forget_bias_corrections()
            for _, layer in model.quant_layers():
                layer.set_weight_correction(None)
        graph = call_graph(model, context.adapter, self.reads_loss)
        units = find_units(model, context.adapter, graph, self.granularity, self.reads_loss)
        progress = Progress(context.store, type(self).__name__, model)
        progress.restore_finished()
        report = Report(
            context.store.folder.parent / "reconstruction", type(self).__name__, context.record
        )
        seed = torch.initial_seed() % 2**31
        capture = UnitCapture(context, units, graph, self.cache, self.reads_loss, self.crop, seed)
        metrics = output_metrics(context, units) if self.fisher == "outputs" else {}
        with reconstructing(model, self.activations):
            indices = range(progress.done, len(units))
            for index in context.track(indices, f"{type(self).__name__}: units", len(indices)):
                data = capture.float_data(index)
                capture.add_quantized(index, data)
                if self.fisher is True:
                    add_fisher_weights(context, units[index], data, capture.frozen)
                problem = self._problem(context, units[index], data, metrics)
                progress.reports.append(
                    self._run_unit(problem, progress, seed, report, capture.note)
                )
                progress.unit_finished(index)
        report.summarize(progress.reports)
        progress.clear()

    def _problem(
        self,
        context: CalibrationContext,
        unit: Unit,
        data: UnitData,
        metrics: Mapping[str, Sequence[torch.Tensor]],
    ) -> UnitProblem:
        module = context.adapter.model.get_submodule(unit.name)
        form = self.trained_form(context.model, unit)
        return UnitProblem(module, unit, form, data, metrics.get(unit.name))

    def _run_unit(
        self,
        problem: UnitProblem,
        progress: Progress,
        seed: int,
        report: Report,
        note: str,
    ) -> dict[str, Any]:
        start = time.perf_counter()
        unit, form, data = problem.unit, problem.form, problem.data
        probe = list(range(min(self.probe_images, data.num_images)))
        before = problem.measure(probe)
        log = report.log(unit.name)
        groups = [group for group in self.groups(form) if group.params]
        if groups:
            for group in groups:
                for param in group.params:
                    param.requires_grad_(True)
            kept = {name: layer.weight.detach().clone() for name, layer in form.layers.items()}
            with form.attached():
                policy = self.policy(problem, probe)
                loop = UnitLoop(problem, groups, policy, self.loop_settings(), seed, probe, log)
                with torch.enable_grad():
                    loop.run(progress.snapshot, progress.save_snapshot)
            after = finish(problem, form, kept, probe, before)
        else:
            after = before
        result = UnitReport(
            unit.name,
            len(unit.layers),
            before,
            after,
            stops=sum(row.get("event") == "stop" for row in log.rows),
            forced=sum(bool(row.get("forced")) for row in log.rows),
            seconds=time.perf_counter() - start,
            maps=note,
        )
        report.unit(result, log.rows)
        return dataclasses.asdict(result)


@torch.no_grad()
def finish(
    problem: UnitProblem,
    form: TrainedForm,
    kept: Mapping[str, torch.Tensor],
    probe: list[int],
    before: float,
) -> float:
    """Commit what was learned, or go back where that is worse than the start; the loss then."""
    old = {q: q.scale.clone() for q in form.sources}
    form.commit()
    after = problem.measure(probe)
    for layer in form.layers.values():
        layer.weight.requires_grad_(False)
    if after <= before:
        for name in form.weights:
            form.layers[name].keep_float_weight(kept[name])
        return after
    for name, weight in kept.items():
        form.layers[name].weight.copy_(weight)
    for quantizer, scale in old.items():
        quantizer.scale.copy_(scale)
    return before
