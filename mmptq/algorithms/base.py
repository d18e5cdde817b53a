"""What a calibration step is, and how to add one."""

from abc import ABC, abstractmethod

from mmptq.engine import CalibrationContext


class Step(ABC):
    """One entry of ``calib_cfg.steps``.

    A step reads the context, changes the model's quantizers (and weights, if that is its method),
    and knows nothing of the other steps. The runner saves the model after every step, and skips
    finished steps on resume, so whatever a step found out must be in the model's state dict.

    To add one: a subclass in a file of its own in ``mmptq/algorithms/``, registered in ``STEPS``
    and imported in ``mmptq/algorithms/__init__.py``; its test goes to ``tests/algorithms/``.
    Arguments are checked in the constructor, which runs before any long work.

    Attributes:
        sets_ranges: Whether every quantizer has a range afterwards, whatever it had before.
        changes_activations: Whether the float model's activations are others afterwards. No
            quantizer has a range then, and the runner collects the statistics anew.
    """

    sets_ranges = False
    changes_activations = False

    @property
    def reads_loss(self) -> bool:
        """Whether the step computes the model's training loss; then the images need labels."""
        return False

    @abstractmethod
    def run(self, context: CalibrationContext) -> None:
        """Do the step's work on ``context.model``."""
