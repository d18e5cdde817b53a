"""What inputs a model takes, as its own test pipeline makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Probe:
    """The geometry of a model's inputs.

    Args:
        channels: Of an image.
        size: ``(H, W)`` where the pipeline makes every image of one size, ``None`` where it does
            not.
        full_size: ``(H, W)`` of an image that fills the pipeline's scale.
        metainfo: What a data sample knows about its image, beside shapes.
    """

    channels: int = 3
    size: tuple[int, int] | None = None
    full_size: tuple[int, int] = (800, 1344)
    metainfo: Mapping[str, Any] = field(default_factory=dict)
