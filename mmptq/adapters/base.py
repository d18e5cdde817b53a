"""What an algorithm may ask of a detector family."""

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.models import Plan, QConfig, Trace, build_plan, quantizable_layers, trace
from mmptq.modules import expanded_modules
from mmptq.registry import ADAPTERS

Samples = list[DetDataSample]


class Adapter(ABC):
    """Knows one family of models.

    A new family is one file in ``mmptq/adapters/`` with a subclass registered in ``ADAPTERS`` and
    imported in ``mmptq/adapters/__init__.py``.

    Args:
        model: The float (or prepared) detector, not its wrapper.
    """

    # Whether several images of one size may stand in a batch, each on its own.
    batched = False

    def __init__(self, model: nn.Module) -> None:
        # Any: what a detector's parts are called is known to the subclass, not to the type checker.
        self.model: Any = model
        self._unit_patterns: tuple[str, ...] = ()

    @property
    def trace_size(self) -> int:
        """Side of the traced image: large enough for five FPN levels, small enough to be quick."""
        return 128

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

    def last_stage(self, outputs: Any) -> Any:
        """Those of :meth:`head_outputs` that predictions are made of: all, in most families."""
        return outputs

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

    def check_dataset(self, dataset: BaseDataset, name: str) -> None:  # noqa: B027
        """Make sure that the model can learn from, or be measured on, ``dataset``.

        Args:
            dataset: Built.
            name: For the message.

        Raises:
            CalibrationDataError: It is made for a model of another kind or size.
        """

    def check_labels(self, samples: Samples, path: str) -> None:
        """Make sure that an image has labels from which :meth:`loss` can be computed.

        Args:
            samples: Its data sample.
            path: Of the image.

        Raises:
            CalibrationDataError: It does not.
        """
        for sample in samples:
            _check_boxes(sample, path)

    def set_units(self, patterns: Sequence[str]) -> None:
        """Make units of the modules that ``patterns`` match, before any rule of the family.

        Raises:
            ConfigError: A pattern matches no module.
        """
        names = [name for name, _ in self.model.named_modules()]
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                raise ConfigError(f"calib_cfg.units: {pattern!r} matches no module of the model")
        self._unit_patterns = tuple(patterns)

    def unit_of(self, layer: str, granularity: str) -> str:
        """The module that is reconstructed as a whole and holds ``layer``.

        What the patterns of :meth:`set_units` match, then a block of the family, then a convolution
        with its norm and activation, then the layer. A unit must read and return one tensor; where
        it does not, its layers are reconstructed one by one.

        Args:
            layer: Name of a quantizable layer.
            granularity: ``'block'`` or ``'layer'``.

        Returns:
            A module name: ``layer`` itself or one that it starts with.
        """
        parents = list(parents_of(layer))
        if granularity == "block":
            for pattern in self._unit_patterns:
                named = [name for name in parents if fnmatch.fnmatchcase(name, pattern)]
                if named:
                    return named[0]
            block = self.block_of(layer)
            if block is not None:
                return block
        if parents and isinstance(self.model.get_submodule(parents[-1]), ConvModule):
            return parents[-1]
        return layer

    def block_of(self, layer: str) -> str | None:
        """The block of the network to which ``layer`` belongs, if any.

        The default finds the residual blocks of a backbone: the outermost modules that stand in a
        row (``nn.Sequential``).
        """
        if layer.startswith("backbone."):
            for name in parents_of(layer):
                within = self.model.get_submodule(name.rpartition(".")[0])
                if isinstance(within, nn.Sequential):
                    return name
        return None

    def trace(self) -> Trace:
        """Run the model once on a small random image and record how its layers hang together."""
        with expanded_modules(self.model):
            layers = quantizable_layers(self.model)
            return trace(self.model, layers, self.raw_outputs, self.trace_image())

    def trace_image(self) -> Tensor:
        """``(1, 3, S, S)`` standard normal, always the same."""
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, self.trace_size, self.trace_size, generator=generator)
        return image.to(next(self.model.parameters()).device)

    def plan(self, qconfig: QConfig) -> Plan:
        """Resolve ``qconfig`` for this model."""
        with expanded_modules(self.model):
            return build_plan(self.model, self.trace(), qconfig)


def parents_of(name: str) -> Iterator[str]:
    """Names of the modules around the module ``name``, the outermost first."""
    return (name.rsplit(".", n)[0] for n in range(name.count("."), 0, -1))


def _check_boxes(sample: DetDataSample, path: str) -> None:
    if "gt_instances" not in sample or "bboxes" not in sample.gt_instances:
        raise CalibrationDataError(
            f"calibration image {path} has no labels, which the objective TaskLoss needs; add "
            "LoadAnnotations to the calibration pipeline, or use the objective 'OutputDistance'"
        )
    boxes, (height, width) = sample.gt_instances.bboxes, sample.img_shape[:2]
    outside = (boxes[:, 2] > width * 1.05 + 2) | (boxes[:, 3] > height * 1.05 + 2)
    if bool(outside.any()):
        raise CalibrationDataError(
            f"calibration image {path}: boxes reach beyond the {width}x{height} input; "
            "LoadAnnotations must stand before Resize in calib_dataloader.dataset.pipeline"
        )


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
