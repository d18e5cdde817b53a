"""A whole detector: images to boxes, scores and labels."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmptq.errors import ConfigError
from mmptq.export.attributes import attribute
from mmptq.export.detections import detect
from mmptq.export.detector_pieces import (
    REGIONS,
    Boxes,
    RegionBoxes,
    RegionHead,
    RegionNetwork,
    Regions,
    fill_up,
)
from mmptq.export.parts import (
    INPUT,
    SIZE,
    Example,
    HeadsPart,
    Nested,
    Network,
    Part,
    Piece,
    level_names,
)

OUTPUTS = ("boxes", "scores", "labels")
MOST = 1000  # detections of an image where the config has no limit


class DetectorPart(Part):
    """A detector with its post-processing.

    It takes preprocessed images ``(N, 3, H, W)`` and their sizes before they were padded to a batch
    ``(N, 2)``: height, width. It returns boxes ``(N, K, 4)`` in pixels of these images, scores
    ``(N, K)``, the best first, and labels ``(N, K)``; where an image has fewer than K detections,
    the other labels are -1.
    """

    name = "detector"
    inputs = (INPUT, SIZE)

    @property
    @abstractmethod
    def test_cfg(self) -> Any:
        """Of the last head."""

    @property
    def most(self) -> int:
        """Detections of an image, K."""
        limit = (self.test_cfg or {}).get("max_per_img", -1)
        return limit if limit > 0 else MOST

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the model's own ``predict`` finds."""
        self.start_pass()
        image, sizes = inputs
        found = detect(self.model, image, sizes)
        filled = [fill_up(one, self.most) for one in found]
        return tuple(torch.stack(tensors) for tensors in zip(*filled, strict=True))

    @contextmanager
    def computed_by(self, network: Network, example: Example) -> Iterator[None]:
        """As in the base class."""

        def predict(image: Tensor, samples: list[Any], rescale: bool = True) -> list[Any]:
            sizes = torch.tensor([s.img_shape[:2] for s in samples], dtype=torch.float32)
            boxes, scores, labels = network(image, sizes)
            for i, sample in enumerate(samples):
                scale = boxes.new_tensor(sample.scale_factor).repeat(2) if rescale else 1
                there = labels[i] >= 0
                sample.pred_instances = InstanceData(
                    bboxes=(boxes[i] / scale)[there],
                    scores=scores[i][there],
                    labels=labels[i][there],
                )
            return samples

        with attribute(self.model, "predict", predict):
            yield


class SingleStagePart(DetectorPart):
    """Any detector whose head decodes what a network returns, by the head's own code.

    Raises:
        ConfigError: The detector predicts in another way.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        detector: Any = model
        _check_way(detector, "predict", SingleStageDetector)
        _check_way(detector.bbox_head, "predict", BaseDenseHead)

    @property
    def test_cfg(self) -> Any:
        """Of the head."""
        model: Any = self.model
        return model.bbox_head.test_cfg

    def pieces(self, example: Example, static: bool) -> list[Piece]:
        """The network, and what its head makes of it for each image."""
        heads = HeadsPart(self.model)
        names = heads.output_names(example)
        boxes = Boxes(self.model.bbox_head, heads.nested(example[INPUT]), self.most)
        return [*heads.pieces(example, static), boxes.piece(names, OUTPUTS, static)]


class TwoStagePart(DetectorPart):
    """Faster R-CNN, and what differs from it in layers, losses or sampling only.

    Raises:
        ConfigError: The detector predicts in another way.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        detector: Any = model
        _check_way(detector, "predict", TwoStageDetector)
        _check_way(detector.rpn_head, "predict", BaseDenseHead)
        _check_way(detector.roi_head, "predict_bbox", StandardRoIHead)
        if detector.roi_head.with_mask:
            raise ConfigError(
                f"model.roi_head.mask_head: a {type(model).__name__}'s graph would have boxes "
                "only; give a config without masks"
            )

    @property
    def test_cfg(self) -> Any:
        """Of the head on regions."""
        model: Any = self.model
        return model.roi_head.test_cfg

    def pieces(self, example: Example, static: bool) -> list[Piece]:
        """Features with raw regions; regions; what the head says of them; boxes."""
        model: Any = self.model
        self.start_pass()
        network = RegionNetwork(model)
        features, outputs = network.features_and_outputs(example[INPUT])
        maps = [f"feature{i}" for i in range(len(features))]
        names = level_names(outputs, "region_")
        regions = Regions(model.rpn_head, Nested(outputs), model.rpn_head.test_cfg.max_per_img)
        return [
            network.piece(example[INPUT], maps, names, static),
            regions.piece(names, REGIONS, static),
            RegionHead(model.roi_head).piece(maps, features, static),
            RegionBoxes(model.roi_head, self.most).piece(OUTPUTS),
        ]


def detector_part(model: nn.Module) -> DetectorPart:
    """The part of a detector of one or two stages.

    Raises:
        ConfigError: It is neither, or predicts in a way of its own.
    """
    if isinstance(model, SingleStageDetector):
        return SingleStagePart(model)
    if isinstance(model, TwoStageDetector):
        return TwoStagePart(model)
    raise _other_way(model)


def _check_way(module: Any, method: str, kind: type) -> None:
    """Make sure that ``module`` has not a ``method`` of its own, but that of ``kind``."""
    if getattr(type(module), method, None) is not getattr(kind, method):
        raise _other_way(module)


def _other_way(module: nn.Module) -> ConfigError:
    return ConfigError(
        f"{type(module).__name__} predicts in a way of its own, for which there is no graph: of "
        "detectors of one stage --part heads can be exported"
    )
