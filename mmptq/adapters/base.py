"""What an algorithm may ask of a detector family."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmptq.errors import ConfigError
from mmptq.models import Plan, QConfig, Trace, build_plan, quantizable_layers, trace
from mmptq.registry import ADAPTERS

Samples = list[DetDataSample]


class Adapter(ABC):
    """Knows one family of models.

    A new family is one file in ``mmptq/adapters/`` with a subclass registered in ``ADAPTERS`` and
    imported in ``mmptq/adapters/__init__.py``.

    Args:
        model: The float (or prepared) detector, not its wrapper.
    """

    # Side of the traced image. Large enough for five FPN levels, small enough to be quick.
    trace_size = 128

    def __init__(self, model: nn.Module) -> None:
        # Any: what a detector's parts are called is known to the subclass, not to the type checker.
        self.model: Any = model

    @classmethod
    @abstractmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether this adapter knows ``model``."""

    @abstractmethod
    def raw_outputs(self, image: Tensor) -> Any:
        """All heads' raw outputs for ``image`` ``(N, 3, H, W)``, in nested tuples and lists.

        Each layer must run in the order and as often as in ``predict``, and every prediction must
        be among the outputs.
        """

    def freeze(self, image: Tensor, samples: Samples, with_labels: bool) -> Any:
        """What must be held fixed so that equal parameters give equal outputs and losses.

        Called once an image, on the float model; the default suits a model that has nothing of the
        kind (random samples, proposals that move with the parameters).

        Args:
            image: ``(1, 3, H, W)``, preprocessed.
            samples: Its data sample, in the preprocessed image's frame.
            with_labels: Whether :meth:`loss` is going to be asked for.
        """
        return None

    def head_outputs(self, image: Tensor, frozen: Any) -> Any:
        """Like :meth:`raw_outputs`, on what :meth:`freeze` returned for this image."""
        return self.raw_outputs(image)

    def loss(self, outputs: Any, samples: Samples, frozen: Any) -> dict[str, Tensor]:
        """The components of the detector's training loss, deterministic.

        Args:
            outputs: Of :meth:`head_outputs`.
            samples: The image's data sample with its labels.
            frozen: Of :meth:`freeze` with labels.

        Raises:
            ConfigError: The family has no such loss here.
        """
        raise ConfigError(
            f"{type(self).__name__} defines no task loss; use the objective 'OutputDistance'"
        )

    def unit_of(self, layer: str, granularity: str) -> str:
        """The module that is reconstructed as a whole and holds ``layer``.

        The default finds residual blocks, and convolutions with their norm and activation, by
        structure; a family with other blocks overrides it. A unit must read and return one tensor;
        where it does not, its layers are reconstructed one by one.

        Args:
            layer: Name of a quantizable layer.
            granularity: ``'block'`` or ``'layer'``.

        Returns:
            A module name: ``layer`` itself or one that it starts with.
        """
        parents = [layer.rsplit(".", n)[0] for n in range(1, layer.count(".") + 1)]
        if granularity == "block" and layer.startswith("backbone."):
            for name in reversed(parents):  # outermost first
                within = self.model.get_submodule(name.rpartition(".")[0])
                if isinstance(within, nn.Sequential):
                    return name
        if parents and isinstance(self.model.get_submodule(parents[0]), ConvModule):
            return parents[0]
        return layer

    def trace(self) -> Trace:
        """Run the model once on a small random image and record how its layers hang together."""
        return trace(
            self.model, quantizable_layers(self.model), self.raw_outputs, self.trace_image()
        )

    def trace_image(self) -> Tensor:
        """``(1, 3, S, S)`` standard normal, always the same."""
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, self.trace_size, self.trace_size, generator=generator)
        return image.to(next(self.model.parameters()).device)

    def plan(self, qconfig: QConfig) -> Plan:
        """Resolve ``qconfig`` for this model."""
        return build_plan(self.model, self.trace(), qconfig)


def blank_sample(image: Tensor) -> DetDataSample:
    """A data sample without labels for one unscaled image ``(N, 3, H, W)``."""
    height, width = image.shape[-2:]
    shape = {
        key: (height, width) for key in ("img_shape", "ori_shape", "pad_shape", "batch_input_shape")
    }
    return DetDataSample(metainfo={**shape, "scale_factor": (1.0, 1.0)})


def find_adapter(model: nn.Module) -> Adapter:
    """The adapter for ``model``.

    Raises:
        ConfigError: No registered adapter knows it.
    """
    ADAPTERS.import_from_location()
    for cls in ADAPTERS.module_dict.values():
        if cls.handles(model):
            return cls(model)
    raise ConfigError(
        f"no adapter handles a {type(model).__name__}; there are "
        f"{', '.join(sorted(ADAPTERS.module_dict))}. A new family is one file in mmptq/adapters/"
    )
