"""What a detector's graph is made of: networks, and the decoding of one image's outputs."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmptq.errors import ConfigError
from mmptq.export.parts import INPUT, SIZE, SIZES, Nested, Piece

REGIONS = ("regions", "region_scores", "region_labels")
_SAID = ("region_classes", "region_deltas")  # by the head on regions

# Logits of what is no region: no threshold lets it pass.
_BACKGROUND = 1e4
_LEAST = 100  # priors of a level while tracing
_TRACED = 200  # regions


def fill_up(found: InstanceData, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes ``(rows, 4)``, scores ``(rows,)`` and labels, which are -1 behind the last one."""

    def filled(values: Tensor, value: float) -> Tensor:
        return torch.cat([values, values.new_full((rows, *values.shape[1:]), value)])[:rows]

    return filled(found.bboxes, 0), filled(found.scores, 0), filled(found.labels, -1)


def image_meta(size: Tensor) -> dict[str, Any]:
    """What MMDetection knows of an image that was not scaled."""
    return {"img_shape": (size[0], size[1]), "scale_factor": (1.0, 1.0)}


class Boxes(nn.Module):
    """One image's raw outputs to its boxes, by the head's own ``predict_by_feat``.

    Args:
        head: Of MMDetection.
        outputs: What its ``forward`` returns, for the form.
        most: Boxes of an image.
    """

    def __init__(self, head: Any, outputs: Nested, most: int) -> None:
        super().__init__()
        self.head, self.outputs, self.most = head, outputs, most

    def forward(self, size: Tensor, *outputs: Tensor) -> tuple[Tensor, ...]:
        """``(most, 4)`` boxes, ``(most,)`` scores and labels."""
        outs = self.outputs.filled(tensor[None] for tensor in outputs)
        (found,) = self.head.predict_by_feat(
            *outs, batch_img_metas=[image_meta(size)], rescale=False
        )
        if "masks" in found:
            raise ConfigError(
                f"{type(self.head).__name__} predicts masks, which have no form in graphs; export "
                "--part heads"
            )
        return fill_up(self.labelled(found), self.most)

    def labelled(self, found: InstanceData) -> InstanceData:
        """With labels that a tracer follows."""
        return found

    def piece(self, names: Sequence[str], outputs: Sequence[str], static: bool) -> Piece:
        """Of tensors with these names."""
        tensors = [tensor[0] for tensor in self.outputs.tensors]
        if not static:
            tensors = enlarged(tensors, (self.head.test_cfg or {}).get("nms_pre", -1))
        # Many boxes lie outside of it, so that the code for empty ones runs as well.
        largest = max(math.prod(tensor.shape[1:]) for tensor in tensors)
        size = torch.full((2,), 2 * math.sqrt(largest))
        axes = {
            name: {1: f"{name}_height", 2: f"{name}_width"}
            for name, tensor in zip(names, tensors, strict=True)
            if tensor.dim() == 3 and not static
        }
        examples = [size, *random_like(tensors)]
        return Piece(self, [SIZE, *names], outputs, examples, axes, each_image=True)


class Regions(Boxes):
    """One image's raw outputs to its regions, likewise."""

    def labelled(self, found: InstanceData) -> InstanceData:
        """MMDetection's zeros are as many as a Python number says: in a graph, the example's."""
        found.labels = torch.zeros_like(found.scores, dtype=torch.int64)
        return found


def enlarged(maps: Sequence[Tensor], nms_pre: int) -> list[Tensor]:
    """Maps ``(C, H, W)`` of such sizes that every level has more priors than are kept of it.

    What happens then is right for small levels too, and not the other way round.
    """
    levels = {tuple(m.shape[1:]): None for m in maps if m.dim() == 3}
    least = math.isqrt(max(nms_pre, _LEAST)) + 1
    sides = {shape: least + 2 * (len(levels) - i) for i, shape in enumerate(levels)}
    return [
        m if m.dim() != 3 else m.new_empty(len(m), side := sides[tuple(m.shape[1:])], side + 1)
        for m in maps
    ]


def random_like(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Numbers among which something is detected, whatever they mean."""
    generator = torch.Generator().manual_seed(0)
    return [2 * torch.randn(t.shape, generator=generator) for t in tensors]


class RegionNetwork(nn.Module):
    """Images to features, and to the raw outputs of the head that proposes regions.

    Args:
        model: A detector of two stages.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def features_and_outputs(self, image: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        """Maps that regions are cut out of, and the head's nested outputs."""
        features = self.model.extract_feat(image)
        return tuple(features), self.model.rpn_head.forward(features)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """All their tensors."""
        return Nested(self.features_and_outputs(image)).tensors

    def piece(
        self, image: Tensor, maps: Sequence[str], names: Sequence[str], static: bool
    ) -> Piece:
        """Of an example, with names of the maps and of the head's outputs."""
        axes = {INPUT: SIZES, **_map_axes(maps), **{name: {0: SIZES[0]} for name in names}}
        return Piece(self, [INPUT], [*maps, *names], [image], {} if static else axes)


class RegionHead(nn.Module):
    """Regions of all images to class scores and box deltas.

    Args:
        roi_head: Of MMDetection.
    """

    def __init__(self, roi_head: Any) -> None:
        super().__init__()
        self.roi_head = roi_head

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features, regions ``(N, P, 4)`` and their labels, -1 where there is none.

        Returns:
            Scores ``(N, P, classes + 1)``, background where there is no region, and deltas.
        """
        *features, regions, labels = inputs
        there = labels >= 0
        images = torch.nonzero(there)[:, :1].to(regions)
        # One more, that there be one, and that the others have a row to point at.
        dummy = regions.new_tensor([[0.0, 0.0, 0.0, 32.0, 32.0]])
        rois = torch.cat([torch.cat([images, regions[there]], dim=1), dummy])
        found = self.roi_head._bbox_forward(features, rois)
        counts = there.flatten().long().cumsum(0).view(there.shape)
        rows = torch.where(there, counts - 1, rois.shape[0] - 1)  # len() is no tensor for tracers
        scores, deltas = found["cls_score"], found["bbox_pred"]
        nothing = torch.full((1, scores.shape[1]), -_BACKGROUND)
        nothing[:, -1] = _BACKGROUND
        return torch.cat([scores[:-1], nothing])[rows], deltas[rows]

    def piece(self, maps: Sequence[str], features: Sequence[Tensor], static: bool) -> Piece:
        """Of maps with these names."""
        labels = torch.zeros(1, _TRACED, dtype=torch.int64)
        labels[:, -1] = -1
        axes = {name: {0: SIZES[0], 1: "regions"} for name in (REGIONS[0], REGIONS[2], *_SAID)}
        if static:
            axes = {name: {1: "regions"} for name in axes}
        else:
            axes |= _map_axes(maps)
        inputs = [*maps, REGIONS[0], REGIONS[2]]
        return Piece(self, inputs, _SAID, [*features, some_regions(_TRACED)[None], labels], axes)


class RegionBoxes(nn.Module):
    """One image's regions with their scores and deltas to its boxes, by the head's own code.

    Args:
        roi_head: Of MMDetection.
        most: Boxes of an image.
    """

    def __init__(self, roi_head: Any, most: int) -> None:
        super().__init__()
        self.roi_head, self.most = roi_head, most

    def forward(
        self, size: Tensor, regions: Tensor, scores: Tensor, deltas: Tensor
    ) -> tuple[Tensor, ...]:
        """``(most, 4)`` boxes, ``(most,)`` scores and labels."""
        rois = torch.cat([torch.zeros_like(regions[:, :1]), regions], dim=1)
        (found,) = self.roi_head.bbox_head.predict_by_feat(
            rois=(rois,),
            cls_scores=(scores,),
            bbox_preds=(deltas,),
            batch_img_metas=[image_meta(size)],
            rcnn_test_cfg=self.roi_head.test_cfg,
            rescale=False,
        )
        return fill_up(found, self.most)

    def piece(self, outputs: Sequence[str]) -> Piece:
        """With names of the outputs."""
        head = self.roi_head.bbox_head
        classes = head.num_classes
        deltas = 4 * (1 if head.reg_class_agnostic else classes)
        shapes = [torch.empty(_TRACED, classes + 1), torch.empty(_TRACED, deltas)]
        examples = [torch.tensor([100.0, 150.0]), some_regions(_TRACED), *random_like(shapes)]
        axes = {name: {0: "regions"} for name in (REGIONS[0], *_SAID)}
        inputs = [SIZE, REGIONS[0], *_SAID]
        return Piece(self, inputs, outputs, examples, axes, each_image=True)


def _map_axes(maps: Sequence[str]) -> dict[str, dict[int, str]]:
    return {name: {0: SIZES[0], 2: f"{name}_height", 3: f"{name}_width"} for name in maps}


def some_regions(count: int) -> Tensor:
    """Boxes ``(count, 4)`` of all sizes, so that each level of features has several."""
    generator = torch.Generator().manual_seed(0)
    corners = 200 * torch.rand(count, 2, generator=generator)
    sides = 8 * 100 ** torch.rand(count, 2, generator=generator)
    return torch.cat([corners, corners + sides], dim=1)
