"""Where a reconstruction stands, kept so that a killed run goes on within the unit."""

from typing import Any

import torch

from mmptq.engine import StageStore
from mmptq.models import QuantModel, model_digest


class Progress:
    """Finished units and the snapshot of the one in work.

    It belongs to a step by the digest of the model that the step started from.

    Args:
        store: Where stages are kept.
        name: Of the step.
        model: At the step's start.
    """

    def __init__(self, store: StageStore, name: str, model: QuantModel) -> None:
        self._store, self._model = store, model
        self._units, self._snapshot = f"units_{name}", f"snapshot_{name}"
        self._start = model_digest(model, ranges=True)
        self._saved: dict[str, Any] | None = None
        self.done = 0
        self.reports: list[dict[str, Any]] = []
        self.snapshot: dict[str, Any] | None = None
        if store.has(self._units):
            saved = store.load(self._units)
            # An older mmptq kept no float weights, with which the later units are to be compared.
            if saved["start"] == self._start and "float_weights" in saved:
                self.done, self._saved = saved["done"], saved
                self.reports = saved["reports"]
        if store.has(self._snapshot):
            saved = store.load(self._snapshot)
            if saved["start"] == self._start and saved["unit"] == self.done:
                self.snapshot = saved["snapshot"]

    @torch.no_grad()
    def restore_finished(self) -> None:
        """Give the units that an earlier attempt finished their final form."""
        if self._saved is None:
            return
        own = self._model.state_dict()
        for key, value in self._saved["state"].items():
            own[key].copy_(value)
        self._model.set_float_weights(self._saved["float_weights"])
        self._saved = None

    def save_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Keep the state of the unit in work."""
        content = {"start": self._start, "unit": self.done, "snapshot": snapshot}
        self._store.save(self._snapshot, content)

    def unit_finished(self, index: int) -> None:
        """Keep the model with the units so far."""
        self.done, self.snapshot = index + 1, None
        state = dict(self._model.state_dict())
        content = {
            "start": self._start,
            "done": self.done,
            "state": state,
            "float_weights": self._model.float_weights(),
            "reports": self.reports,
        }
        self._store.save(self._units, content)

    def clear(self) -> None:
        """The step is done: the runner keeps its result."""
        self._store.drop(self._units)
        self._store.drop(self._snapshot)
