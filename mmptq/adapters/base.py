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

from mmptq.adapters.blank import blank_sample
from mmptq.adapters.passes import FrozenPass, Samples
from mmptq.adapters.probe import Probe
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.models import Plan, QConfig, Trace, build_plan, quantizable_layers, trace
from mmptq.modules import QuantLayer, evaluating, expanded_modules
from mmptq.registry import ADAPTERS

# Sides of small images: five levels of a pyramid fit into the first.
_SMALL = (128, 512)


class Adapter(ABC):
    """Knows one family of models.

    A new family is one file in ``mmptq/adapters/`` with a subclass registered in ``ADAPTERS`` and
    imported in ``mmptq/adapters/__init__.py``.

    Args:
        model: The float (or prepared) detector, not its wrapper.
    """

    # Whether several images of one size may stand in a batch, each on its own.
    batched = False
    # (H, W) of every input of a model that reads no images, so that no pipeline need be asked.
    input_size: tuple[int, int] | None = None

    def __init__(self, model: nn.Module) -> None:
        # Any: what a detector's parts are called is known to the subclass, not to the type checker.
        self.model: Any = model
        self.probe = Probe()
        self._unit_patterns: tuple[str, ...] = ()
        self._size = (_SMALL[0], _SMALL[0])

    @classmethod
    @abstractmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether this adapter knows ``model``."""

    @abstractmethod
    def raw_outputs(self, image: Tensor) -> Any:
        """What the heads predict for ``image`` ``(N, C, H, W)``, in nested tuples and lists.

        Each layer runs in the order and as often as in ``predict``.
        """

    def run(self, image: Tensor) -> None:
        """The pass of :meth:`raw_outputs`, for whoever watches it."""
        self.raw_outputs(image)

    def preprocess(self, batch: Any, with_labels: bool) -> Any:
        """``inputs`` and ``data_samples`` of a collated batch, as the model reads them.

        Args:
            batch: Of the data set.
            with_labels: Whether labels are read: then they are padded as the image is.
        """
        return self.model.data_preprocessor(batch, False)

    def freeze(self, image: Tensor, samples: Samples, with_labels: bool) -> FrozenPass:
        """What must be held fixed so that equal parameters give equal outputs and losses.

        Called once an image, on the float model; the default suits a model that decides nothing on
        the way.

        Args:
            image: ``(N, C, H, W)``, preprocessed.
            samples: Its data samples, in the preprocessed image's frame.
            with_labels: Whether the pass is that of :meth:`loss`.
        """
        return FrozenPass(samples, with_labels)

    def head_outputs(self, image: Tensor, frozen: FrozenPass) -> Any:
        """Like :meth:`raw_outputs`, on what :meth:`freeze` returned for this image."""
        return self.raw_outputs(image)

    def loss(self, image: Tensor, frozen: FrozenPass) -> dict[str, Tensor]:
        """The components of the model's training loss, deterministic.

        Args:
            image: ``(N, C, H, W)``, preprocessed.
            frozen: Of :meth:`freeze` with labels.

        Raises:
            ConfigError: The model has no such loss, or cannot be trained as it is configured.
        """
        raise ConfigError(
            f"{type(self).__name__} defines no task loss; use the objective 'OutputDistance'"
        )

    def label(self, samples: Samples, device: torch.device) -> None:  # noqa: B027
        """Label blank samples in some way from which a loss can be computed."""

    @property
    def watched_layers(self) -> tuple[str, ...]:
        """Layers to whose calls :meth:`head_outputs` listens."""
        return ()

    def last_stage(self, outputs: Any) -> Any:
        """Those of :meth:`head_outputs` that predictions are made of: all, in most families."""
        return outputs

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
        with expanded_modules(self.model), evaluating(self.model):
            image, frozen = self._first_pass()
            self.start_pass()
            layers = quantizable_layers(self.model)
            return trace(self.model, layers, lambda x: self.traced(x, frozen), image)

    def start_pass(self) -> None:
        """Tell the layers of a prepared model that a new pass begins."""
        for module in self.model.modules():
            if isinstance(module, QuantLayer):
                module.reset_calls()

    def traced(self, image: Tensor, frozen: FrozenPass) -> Any:
        """The pass that is traced; its outputs, or ``None`` where they are what nobody reads."""
        return self.head_outputs(image, frozen)

    def _first_pass(self) -> tuple[Tensor, FrozenPass]:
        """The small pass, of the smallest size that the model takes."""
        if self.probe.size is None:
            for size in _SMALL:
                self._size = (size, size)
                try:
                    return self.small_pass()
                except RuntimeError:  # a kernel that is larger than the map, a window that is
                    continue
        self._size = self.probe.size or self.probe.full_size
        return self.small_pass()

    def small_pass(self, with_labels: bool = False) -> tuple[Tensor, FrozenPass]:
        """A small random image, always the same, and what is held fixed for it."""
        self.start_pass()
        image = self.trace_image()
        samples = [blank_sample(image, self.probe.metainfo) for _ in image]
        if with_labels:
            self.label(samples, image.device)
        return image, self.freeze(image, samples, with_labels)

    def trace_image(self) -> Tensor:
        """The image on which the model is traced."""
        return self.random_image(self.trace_size)

    def random_image(self, size: tuple[int, int]) -> Tensor:
        """``(1, C, H, W)`` standard normal, always the same."""
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, self.probe.channels, *size, generator=generator)
        return image.to(next(self.model.parameters()).device)

    @property
    def trace_size(self) -> tuple[int, int]:
        """Height and width of the traced image."""
        return self._size

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


def find_adapter(model: nn.Module) -> Adapter:
    """The adapter for ``model``.

    Raises:
        ConfigError: No registered adapter knows it.
    """
    ADAPTERS.import_from_location()
    found = [cls for cls in ADAPTERS.module_dict.values() if cls.handles(model)]
    if found:
        # The most special one: an adapter of a family derives from a general one.
        return max(found, key=lambda cls: len(cls.__mro__))(model)
    raise ConfigError(
        f"no adapter handles a {type(model).__name__}; there are "
        f"{', '.join(sorted(ADAPTERS.module_dict))}. A new family is one file in mmptq/adapters/"
    )
