"""MMDetection's post-processing in a form that can be traced into a graph.

Its own code is what runs and is traced. A few functions of it stand in the way, and others take
their place while it does.
"""

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmcv.ops import batched_nms, nms
from mmcv.ops.deform_conv import DeformConv2dFunction
from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2dFunction
from mmcv.ops.roi_align import RoIAlignFunction
from mmdet.models.task_modules.coders import delta_xywh_bbox_coder, tblr_bbox_coder
from mmdet.models.utils import filter_scores_and_topk
from mmdet.structures.bbox import distance2bbox
from torch import Tensor
from torch.utils import _pytree as pytree

from mmptq.errors import ConfigError
from mmptq.export.attributes import attribute

Boxes = Callable[..., Tensor]


@contextmanager
def traceable() -> Iterator[None]:
    """What MMDetection does behind its heads can be traced, and runs in float64, meanwhile."""
    with ExitStack() as stack:
        for function, instead in _replacements().items():
            for module, name in _holders(function):
                stack.enter_context(attribute(module, name, instead))
        for function in (DeformConv2dFunction, ModulatedDeformConv2dFunction):
            stack.enter_context(attribute(function, "symbolic", staticmethod(_refuse_deformable)))
        stack.enter_context(attribute(RoIAlignFunction, "symbolic", staticmethod(_roi_align)))
        stack.enter_context(attribute(torch.Tensor, "topk", _topk))
        # For exports MMDetection takes other ways, some through modules that it no longer has.
        stack.enter_context(attribute(torch.onnx, "is_in_onnx_export", lambda: False))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        yield


def check_nms(cfg: Mapping[str, Any]) -> None:
    """Make sure that graphs have this form of non-maximum suppression.

    Raises:
        ConfigError: They have not.
    """
    kind = cfg.get("type", "nms")
    if kind != "nms":
        raise ConfigError(f"nms.type = {kind!r} in test_cfg: in graphs there is only 'nms'")
    for key in cfg:
        if key not in _NMS_KEYS:
            raise ConfigError(
                f"nms.{key} = {cfg[key]!r} in test_cfg: graphs know {', '.join(_NMS_KEYS)}"
            )


_NMS_KEYS = ("type", "iou_threshold", "iou_thr", "max_num", "class_agnostic", "split_thr")


def _replacements() -> dict[Any, Any]:
    decoders: list[Boxes] = [
        delta_xywh_bbox_coder.delta2bbox,
        tblr_bbox_coder.tblr2bboxes,
        distance2bbox,
    ]
    return {
        batched_nms: _batched_nms,
        filter_scores_and_topk: _filter_scores_and_topk,
        **{decode: _clipped(decode) for decode in decoders},
    }


def _holders(function: Any) -> list[tuple[Any, str]]:
    """Modules that know ``function``, and its names there."""
    return [
        (module, name)
        for path, module in list(sys.modules.items())
        if path.partition(".")[0] in ("mmcv", "mmdet", "mmptq") and path != __name__
        for name, value in list(vars(module).items())
        if value is function
    ]


class _NMS(torch.autograd.Function):
    """``(N, 4)`` boxes and ``(N,)`` scores to ``(K,)`` indices, the best first."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
        # mmcv's kernel knows float32 only.
        return nms(boxes.float(), scores.float(), iou_threshold)[1]

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou_threshold: float) -> Any:
        def constant(*values: float, dtype: torch.dtype = torch.int64) -> Any:
            return g.op("Constant", value_t=torch.tensor(values, dtype=dtype))

        chosen = g.op(
            "NonMaxSuppression",
            # Not Unsqueeze: OpenVINO wants to know that there are four numbers a box.
            g.op("Reshape", boxes, constant(1, -1, 4)),
            g.op("Reshape", scores, constant(1, 1, -1)),
            g.op("Gather", g.op("Shape", boxes), constant(0), axis_i=0),  # at most
            constant(iou_threshold, dtype=torch.float32),
        )  # (K, 3): image, class, box
        return g.op("Squeeze", g.op("Gather", chosen, constant(2), axis_i=1), constant(1))


def _batched_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    nms_cfg: Mapping[str, Any] | None,
    class_agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """As :func:`mmcv.ops.batched_nms`, which moves each class' boxes to a place of its own."""
    if nms_cfg is None:
        keep = scores.argsort(descending=True)
    else:
        check_nms(nms_cfg)
        moved = boxes
        if not nms_cfg.get("class_agnostic", class_agnostic):
            # Where there are no boxes, there is no largest coordinate.
            largest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
            moved = boxes + (idxs.to(boxes) * (largest + 1))[:, None]
        threshold = nms_cfg.get("iou_threshold", nms_cfg.get("iou_thr"))
        keep = _NMS.apply(moved, scores, float(threshold))
        if nms_cfg.get("max_num", -1) > 0:
            keep = keep[: nms_cfg["max_num"]]
    return torch.cat([boxes[keep], scores[keep][:, None]], dim=-1), keep


def _filter_scores_and_topk(
    scores: Tensor, score_thr: float, topk: int, results: Any = None
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """As MMDetection's, which counts what is left, and the count would be the example's."""
    left = torch.nonzero(scores > score_thr)
    # Not by the mask, which a graph would search for what is left a second time.
    values = scores.flatten()[left[:, 0] * scores.shape[1] + left[:, 1]]
    best, order = values.sort(descending=True)
    rows, labels = left[order[:topk]].unbind(dim=1)
    chosen = None if results is None else pytree.tree_map(lambda values: values[rows], results)
    return best[:topk], labels, rows, chosen


def _topk(values: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """As ``Tensor.topk``; of fewer than ``k`` values all: a level of a small image has few."""
    best, order = values.movedim(dim, -1).sort(dim=-1, descending=largest)
    found = (tensor[..., :k].movedim(-1, dim) for tensor in (best, order))
    return torch.return_types.topk((next(found), next(found)))


def _clipped(decode: Boxes) -> Boxes:
    """``decode`` for any number of boxes, and without writing into views, which tracers lose.

    It takes two tensors with a row a box, and returns boxes ``(N, 4)``.
    """
    signature = inspect.signature(decode)

    @functools.wraps(decode)
    def decode_and_clip(*args: Any, **kwargs: Any) -> Tensor:
        bound = signature.bind(*(_one_more(arg) for arg in args[:2]), *args[2:], **kwargs)
        shape = bound.arguments.pop("max_shape", None)
        boxes = decode(*bound.args, **bound.kwargs)[:-1]
        if shape is None or not bound.arguments.get("clip_border", True):
            return boxes
        height, width = (torch.as_tensor(side, dtype=boxes.dtype) for side in shape[:2])
        limits = torch.stack([width, height, width, height])
        return torch.minimum(boxes.clamp(min=0).view(-1, 4), limits).view(boxes.shape)

    return decode_and_clip


def _one_more(rows: Tensor) -> Tensor:
    """With one row of zeros more: no runtime gives no rows another shape."""
    return torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])


def _refuse_deformable(g: Any, *_: Any) -> Any:
    raise ConfigError(
        "a deformable convolution would become an operator that no runtime opens; detectors that "
        "compute one cannot be exported"
    )


def _roi_align(
    g: Any,
    x: Any,
    rois: Any,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: str,
    aligned: bool,
) -> Any:
    """ONNX's operator; mmcv's own symbolic is of a time before it knew ``aligned``."""

    def constant(*values: int) -> Any:
        return g.op("Constant", value_t=torch.tensor(values))

    images = g.op("Gather", rois, g.op("Constant", value_t=torch.tensor(0)), axis_i=1)
    return g.op(
        "RoiAlign",
        x,
        g.op("Slice", rois, constant(1), constant(5), constant(1)),
        g.op("Cast", images, to_i=7),  # int64
        output_height_i=output_size[0],
        output_width_i=output_size[1],
        spatial_scale_f=spatial_scale,
        sampling_ratio_i=sampling_ratio,
        mode_s=pool_mode,
        coordinate_transformation_mode_s="half_pixel" if aligned else "output_half_pixel",
    )
