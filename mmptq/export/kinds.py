"""The parts by name."""

from collections.abc import Callable

from mmdet.models.detectors import BaseDetector
from torch import nn

from mmptq.errors import ConfigError
from mmptq.export.detector import detector_part
from mmptq.export.parts import ClassifierPart, HeadsPart, Part
from mmptq.recommenders import Recommender

PARTS: dict[str, Callable[[nn.Module], Part]] = {
    "detector": detector_part,
    "heads": HeadsPart,
    "classifier": ClassifierPart,
}


def make_part(model: nn.Module, name: str | None = None) -> Part:
    """A part of a detector or classifier.

    Args:
        model: Float or quantized.
        name: Key of :data:`PARTS`; by default the whole model.

    Raises:
        ConfigError: ``model`` has no such part, or is a recommender.
    """
    if isinstance(model, Recommender):
        raise ConfigError(
            f"a {type(model).__name__} cannot be exported: a graph takes images, a recommender "
            "numbers of users and items; tools/pack.py makes its checkpoint as small as its bits"
        )
    known = ("detector", "heads") if isinstance(model, BaseDetector) else ("classifier",)
    name = name or known[0]
    if name not in known:
        raise ConfigError(
            f"--part {name}: of a {type(model).__name__} can be exported: {', '.join(known)}"
        )
    return PARTS[name](model).eval()
