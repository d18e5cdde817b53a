"""The loop that adjusts one unit: mini-batches, Adam, a policy that the algorithm provides."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank
from torch import Tensor, nn

from mmptq.engine.units.unit_problem import UnitProblem
from mmptq.errors import NumericalError

Row = dict[str, Any]


@dataclass(frozen=True)
class LoopSettings:
    """How long and how a unit is adjusted.

    Args:
        iters: Iterations.
        batch_size: Images in a mini-batch, of each process.
        accumulate: Parts of a mini-batch that are computed one after another, to save memory.
        drop_prob: Probability with which an element of the unit's input is the float model's.
        precision: ``'float32'``, or in mixed precision ``'bfloat16'`` or ``'float16'``.
        log_interval: Iterations between two log rows.
        checkpoint_interval: Iterations between two snapshots for ``--resume``.
    """

    iters: int
    batch_size: int
    accumulate: int = 1
    drop_prob: float = 0.0
    precision: str = "float32"
    log_interval: int = 100
    checkpoint_interval: int = 2000


class Policy:
    """What an algorithm decides in each iteration; the default holds everything as it is."""

    def before(self, iteration: int) -> Row | None:
        """Called before each iteration; a row for the log, if anything is to be told."""
        return None

    def forgets(self) -> bool:
        """Whether Adam starts anew in this iteration, since its moments are of another loss."""
        return False

    def lr_factor(self, iteration: int) -> float:
        """Factor of all learning rates."""
        return 1.0

    def penalty(self, iteration: int) -> Tensor | None:
        """What is added to the loss."""
        return None

    def describe(self) -> Row:
        """More entries of a log row."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which :meth:`load_state_dict` goes on."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""


@dataclass
class Group:
    """Parameters with one learning rate."""

    params: list[nn.Parameter]
    lr: float


class RowLog:
    """The rows of a unit's log."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def restart(self, rows: Sequence[Row]) -> None:
        """Begin with these rows, those of a snapshot."""
        self.rows = list(rows)

    def add(self, row: Row) -> None:
        """One more row."""
        self.rows.append(row)


@dataclass
class UnitLoop:
    """Adjusts one unit.

    Random numbers of an iteration depend on the seed, the unit, the iteration and the process only,
    so a loop that goes on from a snapshot takes the same course.

    Args:
        problem: The unit's loss, its trainable form attached.
        groups: What is adjusted.
        policy: The algorithm's.
        settings: Of the loop.
        seed: One for the whole run.
        probe: Images on which the log's losses are measured.
        log: Gets the rows as they come.
    """

    problem: UnitProblem
    groups: Sequence[Group]
    policy: Policy
    settings: LoopSettings
    seed: int
    probe: Sequence[int]
    log: RowLog = field(default_factory=RowLog)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        device = self.groups[0].params[0].device.type
        # Without it small gradients would vanish in half precision.
        self._scaler = torch.amp.GradScaler(device, enabled=self.settings.precision == "float16")

    def run(
        self,
        snapshot: Mapping[str, Any] | None = None,
        on_snapshot: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Do all iterations, or those after ``snapshot``."""
        params = [p for group in self.groups for p in group.params]
        optimizer = torch.optim.Adam([{"params": g.params, "lr": g.lr} for g in self.groups])
        start = 0 if snapshot is None else self._restore(snapshot, params, optimizer)
        self.log.restart([] if snapshot is None else snapshot["rows"])
        begin = time.perf_counter() - self.seconds
        interval = self.settings.checkpoint_interval
        for iteration in range(start, self.settings.iters):
            if on_snapshot and iteration > start and iteration % interval == 0:
                self.seconds = time.perf_counter() - begin
                on_snapshot(self._snapshot(iteration, params, optimizer))
            row = self.policy.before(iteration)
            if row is not None:
                self.log.add({"iteration": iteration, **row})
            if self.policy.forgets():
                optimizer.state.clear()
            factor = self.policy.lr_factor(iteration)
            for group, own in zip(optimizer.param_groups, self.groups, strict=True):
                group["lr"] = own.lr * factor
            loss = self._gradients(iteration, params)
            self._scaler.step(optimizer)
            self._scaler.update()
            if iteration % self.settings.log_interval == 0:
                self._log(iteration, loss, factor)
        self.seconds = time.perf_counter() - begin

    def _gradients(self, iteration: int, params: list[nn.Parameter]) -> float:
        """Set all gradients; returns the mini-batch's loss without the penalty."""
        batch = self._choose(self._generator(iteration, torch.device("cpu")))
        generator = self._generator(iteration, params[0].device)
        for quantizer in self.problem.form.acts.values():
            quantizer.generator = generator
        for param in params:
            param.grad = None
        parts = [part for part in batch.chunk(self.settings.accumulate) if len(part)]
        total = 0.0
        for part in parts:
            with self._autocast(params[0].device):
                loss = self.problem.loss(part.tolist(), self.settings.drop_prob, generator)
            loss = loss * (len(part) / len(batch))
            self._scaler.scale(loss).backward()
            total += float(loss.detach())
        penalty = self.policy.penalty(iteration)
        if penalty is not None:
            self._scaler.scale(penalty).backward()
        if not total < float("inf"):
            raise NumericalError(
                f"the loss of unit {self.problem.unit.name!r} is {total} in iteration {iteration}; "
                "lower the learning rates of the step"
            )
        for param in params:
            if param.grad is not None:
                all_reduce(param.grad, "mean")
        return total

    def _autocast(self, device: torch.device) -> torch.autocast:
        precision = self.settings.precision
        mixed = precision != "float32"
        return torch.autocast(device.type, getattr(torch, precision) if mixed else None, mixed)

    def _generator(self, iteration: int, device: torch.device) -> torch.Generator:
        key = f"{self.seed}/{self.problem.unit.name}/{iteration}/{get_rank()}/{device.type}"
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
        return torch.Generator(device).manual_seed(seed)

    def _choose(self, generator: torch.Generator) -> Tensor:
        data = self.problem.data
        images = torch.randperm(data.num_images, generator=generator)[: self.settings.batch_size]
        if not data.has_crops:
            return images
        samples = [data.samples(image) for image in images.tolist()]
        drawn = [int(torch.randint(len(own), (), generator=generator)) for own in samples]
        return torch.tensor([own[i] for own, i in zip(samples, drawn, strict=True)])

    def _log(self, iteration: int, loss: float, factor: float) -> None:
        row = {"iteration": iteration, "loss": loss, "R": self.problem.measure(self.probe)}
        self.log.add({**row, "lr_factor": factor, **self.policy.describe()})

    def _snapshot(
        self, iteration: int, params: list[nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> dict[str, Any]:
        return {
            "iteration": iteration,
            "params": [param.detach().clone() for param in params],
            "optimizer": optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "policy": self.policy.state_dict(),
            "rows": list(self.log.rows),
            "seconds": self.seconds,
        }

    def _restore(
        self,
        snapshot: Mapping[str, Any],
        params: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> int:
        with torch.no_grad():
            for param, value in zip(params, snapshot["params"], strict=True):
                param.copy_(value)
        optimizer.load_state_dict(snapshot["optimizer"])
        self._scaler.load_state_dict(snapshot["scaler"])
        self.policy.load_state_dict(snapshot["policy"])
        self.seconds = snapshot["seconds"]
        return snapshot["iteration"]
