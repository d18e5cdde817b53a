"""What the reconstruction methods share: going through the units, resuming, reporting."""

import dataclasses
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_world_size

from mmptq.algorithms.base import Step
from mmptq.algorithms.reconstruction.progress import Progress
from mmptq.algorithms.reconstruction.report import Report, UnitReport
from mmptq.engine.capture import CacheSettings, UnitCapture, UnitData
from mmptq.engine.context import CalibrationContext
from mmptq.engine.reconstruction import Group, LoopSettings, Policy, UnitLoop
from mmptq.engine.unit_problem import TrainedForm, UnitProblem, WeightQuantizer
from mmptq.engine.units import Unit, call_graph, find_units
from mmptq.errors import ConfigError
from mmptq.models import QuantModel
from mmptq.quantizers import LearnedStepQuantizer

# Learning rates grow as iterations shrink, so that about the same way can be gone.
PRESETS: dict[str, dict[str, Any]] = {
    "published": {"iters": 20000, "batch_size": 2},
    "fast": {"iters": 300, "batch_size": 8},
}


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
        probe_images: Images on which a unit's loss is measured, of each process.
        cache: ``dict(max_gb=4.0, dtype='float32' or 'float16', device=None)``: where captured
            activations are kept.
        log_interval: Iterations between two log rows; by default a 40th of ``iters``.
        checkpoint_interval: Iterations between two snapshots within a unit.

    Raises:
        ConfigError: An argument that cannot work.
    """

    granularity = "block"
    # Whether activations are quantized while units are adjusted.
    activations = True

    def __init__(
        self,
        preset: str = "published",
        iters: int | None = None,
        batch_size: int | None = None,
        accumulate: int = 1,
        probe_images: int = 8,
        cache: Mapping[str, Any] | None = None,
        log_interval: int | None = None,
        checkpoint_interval: int = 2000,
    ) -> None:
        defaults = self.defaults(preset)
        self.iters = defaults["iters"] if iters is None else iters
        self.batch_size = defaults["batch_size"] if batch_size is None else batch_size
        self.accumulate, self.probe_images = accumulate, probe_images
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
        self.log_interval = log_interval or max(self.iters // 40, 1)

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

    @property
    def needs_labels(self) -> bool:
        """Whether :meth:`add_weights` reads the images' labels."""
        return False

    def add_weights(
        self, context: CalibrationContext, unit: Unit, data: UnitData, frozen: Mapping[int, Any]
    ) -> None:
        """Add weights of a unit's squared differences to its data.

        Args:
            context: With the units before this one finished.
            unit: Whose data.
            data: Complete but for them.
            frozen: What the adapter holds fixed for each image, by its position.
        """

    def loop_settings(self) -> LoopSettings:
        """Of each unit's loop."""
        return LoopSettings(
            self.iters,
            self.batch_size,
            self.accumulate,
            log_interval=self.log_interval,
            checkpoint_interval=self.checkpoint_interval,
        )

    def run(self, context: CalibrationContext) -> None:
        """Adjust every unit of the model."""
        model = context.model
        check_ranges(model, type(self).__name__)
        check_images(context)
        model.eval()
        for _, layer in model.quant_layers():
            layer.set_weight_correction(None)  # it refers to the weight before reconstruction
        graph = call_graph(model, context.adapter)
        units = find_units(model, context.adapter, graph, self.granularity)
        progress = Progress(context.store, type(self).__name__, model)
        report = Report(context.store.folder.parent / "reconstruction", type(self).__name__)
        capture = UnitCapture(context, units, graph, self.cache, self.needs_labels)
        seed = torch.initial_seed() % 2**31
        with reconstructing(model, self.activations):
            indices = range(progress.done, len(units))
            for index in context.track(indices, f"{type(self).__name__}: units", len(indices)):
                data = capture.float_data(index)
                # The float front is past the finished units: now they may take their final form.
                progress.restore_finished()
                capture.add_quantized(index, data)
                self.add_weights(context, units[index], data, capture.frozen)
                progress.reports.append(
                    self._run_unit(context, units[index], data, progress, seed, report)
                )
                progress.unit_finished(index)
        progress.restore_finished()
        report.summarize(progress.reports)
        progress.clear()

    def _run_unit(
        self,
        context: CalibrationContext,
        unit: Unit,
        data: UnitData,
        progress: Progress,
        seed: int,
        report: Report,
    ) -> dict[str, Any]:
        model, start = context.model, time.perf_counter()
        module = context.adapter.model.get_submodule(unit.name)
        form = self.trained_form(model, unit)
        problem = UnitProblem(module, unit, form, data)
        probe = list(range(min(self.probe_images, data.num_images)))
        before = problem.measure(probe)
        rows: list[dict[str, Any]] = []
        groups = [group for group in self.groups(form) if group.params]
        if groups:
            for group in groups:
                for param in group.params:
                    param.requires_grad_(True)
            kept = {name: layer.weight.detach().clone() for name, layer in form.layers.items()}
            with form.attached():
                policy = self.policy(problem, probe)
                loop = UnitLoop(problem, groups, policy, self.loop_settings(), seed, probe)
                with torch.enable_grad():
                    loop.run(progress.snapshot, progress.save_snapshot)
                rows = loop.rows
            after = finish(problem, form, kept, probe, before)
        else:
            after = before
        result = UnitReport(
            unit.name,
            len(unit.layers),
            before,
            after,
            stops=sum(row.get("event") == "stop" for row in rows),
            forced=sum(bool(row.get("forced")) for row in rows),
            seconds=time.perf_counter() - start,
        )
        report.unit(result, rows)
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
        return after
    for name, weight in kept.items():
        form.layers[name].weight.copy_(weight)
    for quantizer, scale in old.items():
        quantizer.scale.copy_(scale)
    return before


def learned_steps(
    model: QuantModel, unit: Unit, form_sites: bool, drop_prob: float = 0.0
) -> dict[str, LearnedStepQuantizer]:
    """Trainable quantizers of all sites that the unit reads; its own ones learn.

    A site that an earlier unit was the first to read has its step already.
    """
    if not form_sites:
        return {}
    assert model.plan is not None
    read = {s for p in model.plan.layers if p.name in unit.layers for s in p.inputs if s}
    acts = {}
    for name in sorted(read):
        if model.sites[name].enabled:
            acts[name] = LearnedStepQuantizer(model.sites[name], learn=name in unit.sites)
            acts[name].drop_prob = drop_prob
    return acts


def step_group(form: TrainedForm, lr: float) -> Group:
    """All steps that learn."""
    return Group([q.log_gain for q in form.steps if q.log_gain.requires_grad], lr)


def weight_quantizers(model: QuantModel, unit: Unit) -> Iterator[tuple[str, Any, torch.Tensor]]:
    """Name, calibrated quantizer and weight of each quantized layer of a unit."""
    for name, layer in model.quant_layers():
        if name in unit.layers and layer.weight_quantizer is not None:
            yield name, layer.weight_quantizer, layer.weight


@contextmanager
def reconstructing(model: QuantModel, activations: bool) -> Iterator[None]:
    """Parameters are frozen, and quantizers on as asked, in this context."""
    wanted = {param: param.requires_grad for param in model.parameters()}
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    switches = {quantizer: quantizer.enabled for quantizer in quantizers}
    for param in wanted:
        param.requires_grad_(False)
    if not activations:
        for quantizer in model.sites.values():
            quantizer.enabled = False
    try:
        yield
    finally:
        for param, requires_grad in wanted.items():
            param.requires_grad_(requires_grad)
        for quantizer, enabled in switches.items():
            quantizer.enabled = enabled


def check_ranges(model: QuantModel, step: str) -> None:
    """Make sure that every quantizer has a range.

    Raises:
        ConfigError: One has none.
    """
    quantizers = {**model.weight_quantizers(), **model.sites}
    missing = [name for name, quantizer in quantizers.items() if not quantizer.calibrated]
    if missing:
        raise ConfigError(
            f"{step} starts from ranges, but {len(missing)} quantizers have none, first that of "
            f"{missing[0]}; put RangeCalibration before it in calib_cfg.steps"
        )


def check_images(context: CalibrationContext) -> None:
    """Make sure that each process has images.

    Raises:
        ConfigError: This one has none.
    """
    if len(context.data) == 0:
        raise ConfigError(
            f"calib_cfg.num_images is less than the {get_world_size()} processes; reconstruction "
            "needs an image for each"
        )


def parse_cache(cfg: Mapping[str, Any]) -> CacheSettings:
    """Read and check ``cache``.

    Raises:
        ConfigError: Naming the key, the value and what would be right.
    """
    known = [f.name for f in dataclasses.fields(CacheSettings)]
    for key in cfg:
        if key not in known:
            raise ConfigError(f"cache.{key}: unknown key; known are {', '.join(known)}")
    cache = CacheSettings(**cfg)
    if not cache.max_gb > 0:
        raise ConfigError(f"cache.max_gb = {cache.max_gb!r}: must be more than 0")
    if cache.dtype not in ("float32", "float16"):
        raise ConfigError(f"cache.dtype = {cache.dtype!r}: must be 'float32' or 'float16'")
    return cache


__all__ = ["Reconstruction", "WeightQuantizer", "learned_steps", "step_group"]
