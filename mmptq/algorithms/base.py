"""What a calibration step is, and how to add one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from mmptq.engine import CalibrationContext
from mmptq.evaluation import ModelProfile
from mmptq.models import Plan, QConfig


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
        replaces_weights: Whether rounded values stand in the weights' place afterwards
            (:meth:`QuantLayer.keep_float_weight` keeps the float ones for the float form).
        needs_float_weights: Whether the step starts from the weights' float values. It is refused
            behind one that replaced them, as are steps that set ranges.
    """

    sets_ranges = False
    changes_activations = False
    replaces_weights = False
    needs_float_weights = False

    @property
    def reads_loss(self) -> bool:
        """Whether the step computes the model's training loss; then the images need labels."""
        return False

    @property
    def reads_labels(self) -> bool:
        """Whether the images need labels: for the training loss, or for another."""
        return self.reads_loss

    @property
    def accuracy_key(self) -> str:
        """The argument by which the step was asked to measure the model's accuracy, if it was."""
        return ""

    @property
    def reads_accuracy(self) -> bool:
        """Whether the step measures the model's accuracy."""
        return bool(self.accuracy_key)

    @property
    def judged_by(self) -> Mapping[str, Any] | None:
        """Config of the objective by which images that the step did not see judge what it learned.

        Where they find it worse than the step's start, the runner keeps the start. ``None`` for
        what does not fit itself to the images.
        """
        return None

    def check_model(self, plan: Plan, profile: ModelProfile, qconfig: QConfig) -> None:  # noqa: B027
        """Refuse what cannot work for this model, before any long work.

        Args:
            plan: Of the model, which is not prepared yet.
            profile: Of the float model.
            qconfig: That the plan was made from.

        Raises:
            ConfigError: Names the argument, its value, and what would do.
        """

    @abstractmethod
    def run(self, context: CalibrationContext) -> None:
        """Do the step's work on ``context.model``."""
