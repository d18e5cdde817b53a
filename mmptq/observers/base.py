"""What an observer is, and how to add one."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from mmptq.errors import ConfigError
from mmptq.observers.statistics import Statistics
from mmptq.ops import QuantScheme


class Observer(ABC):
    """Chooses the range that a quantizer covers, from the statistics of the tensor.

    An observer never sees the tensor: one calibration pass collects the statistics, and any number
    of observers, at any bit-width, read them afterwards.

    To add one: put a subclass in a file of its own in ``mmptq/observers/``, decorate it with
    ``@OBSERVERS.register_module()``, import it in ``mmptq/observers/__init__.py``, check its
    arguments with :func:`require`, and implement :meth:`compute_range` with what
    :class:`~mmptq.observers.statistics.Statistics` offers. A config then names it
    ``type='mmptq.YourObserver'``. Its test goes to ``tests/observers/``.
    """

    # Power of the error by which levels that are not evenly spaced are chosen.
    level_power = 2.0

    def choose_range(
        self,
        stats: Statistics,
        low: Tensor,
        high: Tensor,
        levels: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The range with the least mean error, for a quantizer with levels of its own.

        Such a quantizer (:class:`mmptq.quantizers.LevelQuantizer`) says what to choose from. The
        error is squared, whatever the observer, unless :attr:`level_power` says otherwise.

        Args:
            stats: Of an activation as a whole.
            low: Lower ends ``(K,)`` to choose from.
            high: Upper ends ``(K,)``.
            levels: From ranges to levels ``(K, L)``, ascending.

        Returns:
            ``low`` and ``high``, 0-dim; the first of equally good ones.
        """
        best = stats.level_error(levels(low, high), self.level_power).argmin()
        return low[best], high[best]

    @abstractmethod
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        """Range of one tensor.

        Args:
            stats: Of the tensor, per tensor or per channel.
            scheme: The quantizer's bit-width and kind.

        Returns:
            ``low`` and ``high``, float32, 0-dim or ``(C,)``, for :func:`mmptq.ops.range_to_params`.

        Raises:
            CalibrationDataError: The tensor never saw a value.
        """


def require(condition: bool, owner: object, key: str, value: object, want: str) -> None:
    """Check an observer's argument.

    Raises:
        ConfigError: ``condition`` is false; the message names the class, the key, the value and
        what
            would be right.
    """
    if not condition:
        raise ConfigError(f"{type(owner).__name__}.{key} must be {want}, got {value!r}")


def is_number(value: object) -> bool:
    """True for an int or float that is not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)
