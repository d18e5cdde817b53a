"""What a calibration step gets to work with."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from mmptq.adapters import Adapter
from mmptq.engine.data.calibration_set import CalibrationSet
from mmptq.engine.data.collect import collect_statistics, statistics_from
from mmptq.engine.storage.store import StageStore
from mmptq.evaluation import ModelProfile
from mmptq.models import QuantModel
from mmptq.observers import StreamingStatistics

T = TypeVar("T")


class Track(Protocol):
    """Reports progress while somebody iterates: ``for x in track(items, 'layers')``."""

    def __call__(self, items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
        """Yield ``items``; ``total`` is their number where they have no length."""
        ...


class Record(Protocol):
    """Takes numbers of a running step: ``record('QDrop/backbone.layer1.0', {'R': 0.1}, 300)``."""

    def __call__(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Hand ``values`` on; ``step`` is the iteration that they belong to."""
        ...


class Accuracy(Protocol):
    """The main metric, as the results' table shows it (percent where it is a fraction)."""

    def of_float(self) -> float:
        """Of the float model."""
        ...

    def now(self) -> float:
        """Of the model as it stands."""
        ...


def _ignore(tag: str, values: Mapping[str, float], step: int) -> None:
    """Nobody listens."""


@dataclass
class CalibrationContext:
    """State that the steps of one run share.

    Args:
        model: The prepared model; steps set its quantizers and may change its weights.
        adapter: Knows the model's family.
        data: The calibration images of this process.
        store: Where finished stages are kept.
        track: Progress reporter.
        record: Where a step's curves go while it runs.
        qconfig: What the model's plan was made from, as it stands in the config.
        profile: Of the float model, where it was counted.
        accuracy: Measures the model, where there is something to measure with.
        check_images: Images that no step sees, where there are any.
        statistics_seconds: How long collecting the activation statistics took, all times together.
    """

    model: QuantModel
    adapter: Adapter
    data: CalibrationSet
    store: StageStore
    track: Track
    record: Record = _ignore
    qconfig: Mapping[str, Any] | None = None
    profile: ModelProfile | None = None
    accuracy: Accuracy | None = None
    check_images: CalibrationSet | None = None
    statistics_seconds: float = 0.0
    _statistics: dict[str, StreamingStatistics] | None = field(default=None, repr=False)

    def activation_statistics(self) -> dict[str, StreamingStatistics]:
        """Statistics of every site of the float model; collected once, then reused.

        The runner calls it before the first step, while the weights are still the float model's.
        """
        if self._statistics is None:
            self._statistics = self._load_statistics("statistics")
        return self._statistics

    def collect_again(self, stage: str) -> None:
        """Collect them anew, once; the runner calls it behind a step that changed the activations.

        Args:
            stage: Under which they are kept.
        """
        self._statistics = self._load_statistics(stage)

    def _load_statistics(self, stage: str) -> dict[str, StreamingStatistics]:
        saved = self.store.once(stage, self._collect)
        self.statistics_seconds += saved["seconds"]
        sites = saved["sites"].items()
        return {name: statistics_from(state) for name, state in sites}

    def _collect(self) -> dict[str, Any]:
        start = time.perf_counter()
        batches = self.track(self.data, "activation statistics", len(self.data))
        statistics = collect_statistics(self.model, batches)
        sites = {name: s.state_dict() for name, s in statistics.items()}
        return {"sites": sites, "seconds": time.perf_counter() - start}
