"""When and how far the bit-width shrinks: the schedulers of Bit-shrinking and its ablations.

A *position* in [0, 1] walks all quantizers of a unit together, from 1 (all at the starting
bit-width) to 0 (each at its target).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mmptq.engine.units.reconstruction import Policy, Row
from mmptq.engine.units.unit_problem import UnitProblem
from mmptq.quantizers import LearnedStepQuantizer

MODES = ("shrink", "direct", "progressive")
LR_SCHEDULES = ("hold", "restart")
BISECTIONS = 5  # the position is found to within 1/32 of its last value


def largest_shrink(measure: Callable[[float], float], position: float, limit: float) -> float:
    """The least position below ``position`` whose loss is at most ``limit``, by bisection.

    Args:
        measure: Loss at a position; grows as the position falls, up to noise. Every position that
            is returned has been measured (or is ``position``), so it respects the limit whatever
            the noise.
        position: Where we are; its own loss respects the limit.
        limit: Largest loss allowed.
    """
    if position == 0.0 or measure(0.0) <= limit:
        return 0.0
    too_far, best = 0.0, position
    for _ in range(BISECTIONS):
        middle = 0.5 * (too_far + best)
        if measure(middle) <= limit:
            best = middle
        else:
            too_far = middle
    return best


@dataclass(frozen=True)
class ShrinkSettings:
    """How the iterations of a unit are spent.

    Args:
        mode: ``'shrink'`` (bisection under a limit), ``'direct'`` (the target from the start),
            ``'progressive'`` (whole bits, evenly).
        start_bits: Bit-width at which all quantizers start (those whose target is above stay).
        tau: Limit of the instant sharpness of a shrink, relative to the loss at the target at the
            start.
        iters: All iterations of the unit.
        shrink_share: Share of them in which the target must be reached; the rest polishes.
        stops: Largest number of shrinks.
        forced_share: Share of the stops, at the end, in which an even walk down is enforced.
        lr_schedule: ``'hold'``: constant until the target, then a cosine to zero. ``'restart'``:
            within each stop a cosine to a tenth.
    """

    mode: str
    start_bits: float
    tau: float
    iters: int
    shrink_share: float
    stops: int
    forced_share: float
    lr_schedule: str

    @property
    def stop_iters(self) -> int:
        """Iterations between two shrinks."""
        return max(int(self.iters * self.shrink_share) // self.stops, 1)


def bits_at(position: float, target: float, start: float) -> float:
    """Bit-width of a quantizer at a position: linear from the start to its target."""
    return target + position * max(start - target, 0.0)


class ShrinkPolicy(Policy):
    """Lowers the bit-width of a unit, and sets the learning rates on the way.

    At each stop of mode ``'shrink'`` the position falls as far as the instant sharpness
    ``R(new) - R(old)``, at equal parameters and on the probe images, stays within the limit. In the
    last stops the position falls at least by an equal share of what is left; a shrink that goes
    further for this than the limit allows is marked as forced.

    In mode ``'shrink'`` steps are held above the target, where there are weights to adjust: many
    bits ask for wider ranges than few, and what is learned there has to be unlearned.

    Args:
        problem: The unit's, with its trainable form attached.
        settings: Of the schedule.
        probe: Images on which losses are measured.
    """

    def __init__(
        self, problem: UnitProblem, settings: ShrinkSettings, probe: Sequence[int]
    ) -> None:
        self._problem, self._settings, self._probe = problem, settings, list(probe)
        self._quantizers = problem.form.steps
        movable = any(q.target.num_bits < settings.start_bits for q in self._quantizers)
        self.position = 1.0 if movable and settings.mode != "direct" else 0.0
        self._last_stop, self._shrunk = 0, False
        hold = settings.mode == "shrink" and problem.form.weights
        learned = [q.log_gain for q in self._quantizers if q.log_gain.requires_grad]
        self._held = learned if hold else []
        self._limit = settings.tau * self._measure(0.0)
        self._set(self.position)

    def before(self, iteration: int) -> Row | None:
        """Shrink, if this is a stop."""
        self._shrunk = False
        if iteration == 0 and self.position == 0.0:
            return {"event": "start", **self._losses(self._measure(0.0), None)}
        if self.position == 0.0 or not self._is_stop(iteration):
            return None
        measure = cache(self._measure)  # at the parameters of this iteration
        old = measure(self.position)
        position, forced = self._next(iteration, old, measure)
        new = measure(position)
        self._last_stop, self._shrunk = iteration, position != self.position
        self.position = position
        self._set(position)
        if not self._shrunk:
            return None
        return {"event": "stop", **self._losses(new, old), "limit": self._limit, "forced": forced}

    def forgets(self) -> bool:
        """At each shrink: gradients grow, and Adam's mean square of them would lag far behind."""
        return self._shrunk

    def lr_factor(self, iteration: int) -> float:
        """See :class:`ShrinkSettings`."""
        done = iteration - self._last_stop
        if self.position == 0.0:
            rest = self._settings.iters - self._last_stop
            return 0.5 + 0.5 * math.cos(math.pi * done / max(rest, 1))
        if self._settings.lr_schedule == "hold":
            return 1.0
        share = min(done / self._settings.stop_iters, 1.0)
        return 0.55 + 0.45 * math.cos(math.pi * share)

    def describe(self) -> Row:
        """Bit-widths as they are."""
        form = self._problem.form
        return {"b_w": _least_bits(form.weights.values()), "b_a": _least_bits(form.acts.values())}

    def state_dict(self) -> dict[str, Any]:
        """Position and what the learning rate depends on."""
        return {"position": self.position, "last_stop": self._last_stop, "limit": self._limit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.position, self._limit = state["position"], state["limit"]
        self._last_stop = state["last_stop"]
        self._set(self.position)

    def _is_stop(self, iteration: int) -> bool:
        if self._settings.mode == "progressive":
            return iteration % self._dwell == 0
        return iteration % self._settings.stop_iters == 0

    @property
    def _dwell(self) -> int:
        """Iterations at each whole bit-width of the progressive mode."""
        return max(self._settings.iters // (self._num_bits_below + 1), 1)

    @property
    def _num_bits_below(self) -> int:
        """Whole bit-widths from just below the start down to the lowest target."""
        lowest = min(q.target.num_bits for q in self._quantizers)
        return math.ceil(self._settings.start_bits - lowest)

    def _next(
        self, iteration: int, loss: float, measure: Callable[[float], float]
    ) -> tuple[float, bool]:
        """The position after a stop, and whether the budget forced it."""
        if self._settings.mode == "progressive":
            step = iteration // self._dwell
            return max(1.0 - step / self._num_bits_below, 0.0), False
        free = largest_shrink(measure, self.position, loss + self._limit)
        at_most = self._required(iteration // self._settings.stop_iters)
        return min(free, at_most), at_most < free

    def _required(self, stop: int) -> float:
        """The highest position that the budget allows after a stop."""
        left = self._settings.stops - stop  # this one included
        if left <= 1:
            return 0.0
        if left > self._settings.stops * self._settings.forced_share:
            return self.position
        return self.position * (left - 1) / left

    def _measure(self, position: float) -> float:
        self._set(position)
        return self._problem.measure(self._probe)

    def _set(self, position: float) -> None:
        for quantizer in self._quantizers:
            bits = bits_at(position, quantizer.target.num_bits, self._settings.start_bits)
            if self._settings.mode == "progressive" and position > 0.0:
                bits = max(float(round(bits)), quantizer.target.num_bits)
            quantizer.set_num_bits(bits)
        for log_gain in self._held:
            log_gain.requires_grad_(position == 0.0)

    def _losses(self, new: float, old: float | None) -> Row:
        """Loss, sharpness and, from the loss before, instant sharpness."""
        sharpness = new - self._problem.measure_float(self._probe)
        row = {**self.describe(), "R": new, "S": sharpness}
        return row if old is None else {**row, "instant_S": new - old}


def _least_bits(quantizers: Any) -> float | None:
    """Least bit-width: first and last layers may keep more."""
    bits = [q.scheme.num_bits for q in quantizers if isinstance(q, LearnedStepQuantizer)]
    return min(bits, default=None)
