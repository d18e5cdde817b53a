"""What stands in for MMDetection's functions while a graph is made computes the same."""

from typing import Any

import mmdet.models.dense_heads.base_dense_head as base_dense_head
import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign, batched_nms
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import delta2bbox
from mmdet.models.utils import filter_scores_and_topk
from mmdet.structures.bbox import distance2bbox
from torch import Tensor, nn

from mmptq.errors import ConfigError
from mmptq.export.post_processing import traceable

NMS = dict(type="nms", iou_threshold=0.5)


def boxes(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = 80 * torch.rand(count, 2, generator=generator)
    sides = 5 + 30 * torch.rand(count, 2, generator=generator)
    scores = torch.rand(count, generator=generator)
    labels = torch.randint(0, 3, (count,), generator=generator)
    return torch.cat([corners, corners + sides], 1), scores, labels


@pytest.mark.parametrize(
    "cfg",
    [NMS, {**NMS, "class_agnostic": True}, {**NMS, "max_num": 7}, {**NMS, "split_thr": 20}, None],
)
def test_nms(cfg: Any) -> None:
    expected, kept = batched_nms(*boxes(200), cfg)
    with traceable():
        found, keep = base_dense_head.batched_nms(*boxes(200), cfg)
    assert torch.equal(found, expected) and torch.equal(keep, kept)


def test_nms_of_float64_and_of_nothing() -> None:
    with traceable():
        few = boxes(50)
        double = base_dense_head.batched_nms(few[0].double(), few[1].double(), few[2], NMS)
        assert torch.equal(double[1], batched_nms(*few, NMS)[1])
        found, keep = base_dense_head.batched_nms(*boxes(0), NMS)
        assert found.shape == (0, 5) and not len(keep)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(type="soft_nms", iou_threshold=0.5), "nms.type = 'soft_nms' .*only 'nms'"),
        ({**NMS, "offset": 1}, "nms.offset = 1"),
    ],
)
def test_other_forms_of_nms_are_refused(cfg: Any, message: str) -> None:
    with traceable(), pytest.raises(ConfigError, match=message):
        base_dense_head.batched_nms(*boxes(5), cfg)


@pytest.mark.parametrize(("threshold", "topk"), [(0.5, 10), (0.99, 10), (2.0, 10), (0.1, 1000)])
def test_the_best_of_a_level(threshold: float, topk: int) -> None:
    scores = torch.rand(40, 3, generator=torch.Generator().manual_seed(1))
    results = dict(rows=torch.arange(40), pairs=torch.arange(80).view(40, 2))
    expected = filter_scores_and_topk(scores, threshold, topk, dict(results))
    with traceable():
        found = base_dense_head.filter_scores_and_topk(scores, threshold, topk, dict(results))
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert torch.equal(one, other)
    for key in results:
        assert torch.equal(found[3][key], expected[3][key])


def test_the_best_of_a_level_and_nothing_else() -> None:
    scores = torch.rand(40, 3, generator=torch.Generator().manual_seed(1))
    with traceable():
        assert base_dense_head.filter_scores_and_topk(scores, 0.5, 10)[3] is None


def test_the_best_of_a_level_are_searched_once(tmp_path: Any) -> None:
    onnx = pytest.importorskip("onnx")

    class Best(nn.Module):
        def forward(self, scores: Tensor) -> Any:
            return base_dense_head.filter_scores_and_topk(scores, 0.5, 10)[:3]

    with traceable():
        torch.onnx.export(Best(), torch.rand(40, 3), str(tmp_path / "best.onnx"), dynamo=False)
    nodes = onnx.load(str(tmp_path / "best.onnx")).graph.node
    assert sum(node.op_type == "NonZero" for node in nodes) == 1


@pytest.mark.parametrize(("k", "dim"), [(3, -1), (3, 0), (99, 1)])
def test_topk(k: int, dim: int) -> None:
    values = torch.rand(5, 7, generator=torch.Generator().manual_seed(1))
    expected = values.topk(min(k, values.shape[dim]), dim=dim)
    with traceable():
        found = values.topk(k, dim=dim)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.indices, expected.indices)
    assert type(values.topk(1)) is type(expected)


def test_clipped_boxes() -> None:
    generator = torch.Generator().manual_seed(2)
    anchors, deltas = boxes(30)[0], torch.randn(30, 4, generator=generator)
    points, distances = anchors[:, :2], 40 * deltas.abs()
    coder, structures = (
        __import__(module, fromlist=["_"])
        for module in (
            "mmdet.models.task_modules.coders.delta_xywh_bbox_coder",
            "mmdet.structures.bbox",
        )
    )
    for clip in (True, False):
        expected = delta2bbox(anchors, deltas, max_shape=(50, 70), clip_border=clip)
        with traceable():
            shape = torch.tensor(50.0), torch.tensor(70.0)
            found = coder.delta2bbox(anchors, deltas, max_shape=shape, clip_border=clip)
        assert torch.equal(found, expected)
    for limit in ((50, 70), None):
        expected = distance2bbox(points, distances, limit)
        with traceable():
            found = structures.distance2bbox(points, distances, limit)
        assert torch.equal(found, expected)


def test_everything_is_as_before_afterwards() -> None:
    with pytest.raises(RuntimeError), traceable():
        assert base_dense_head.batched_nms is not batched_nms
        raise RuntimeError
    assert base_dense_head.batched_nms is batched_nms
    assert base_dense_head.filter_scores_and_topk is filter_scores_and_topk


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align_in_a_graph(runtime: str, aligned: bool, ratio: int, tmp_path: Any) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip(runtime)
    from mmptq.export.graph import to_onnx
    from mmptq.runtime import open_session

    layer: nn.Module = RoIAlign(7, 0.25, ratio, aligned=aligned)
    x = torch.randn(2, 3, 25, 30, generator=torch.Generator().manual_seed(3))
    rois = torch.cat([torch.arange(12)[:, None] % 2, boxes(12)[0]], 1).float()
    with traceable():
        graph = to_onnx(layer, [x, rois], ["x", "rois"], ["y"], {"rois": {0: "k"}})
    onnx.save(graph, tmp_path / "m.onnx")
    session = open_session(tmp_path / "m.onnx", runtime, threads=1)
    found = session.run({"x": x.numpy(), "rois": rois[:9].numpy()})["y"]
    np.testing.assert_allclose(found, layer(x, rois[:9]).numpy(), atol=2e-6)
