"""Detectors as one graph: what MMDetection finds, the runtime finds, in images of any size."""

from pathlib import Path
from typing import Any

import pytest
import torch

onnx = pytest.importorskip("onnx")
from mmptq.engine.incremental.probing import float_form  # noqa: E402
from mmptq.errors import ConfigError, MmptqError  # noqa: E402
from mmptq.export.detections import Detections, likeness  # noqa: E402
from mmptq.export.export import export_float, export_model, write  # noqa: E402
from mmptq.export.graph_check import check_graph  # noqa: E402
from mmptq.export.kinds import make_part  # noqa: E402
from mmptq.export.network import SessionNetwork  # noqa: E402
from mmptq.export.verify import verify  # noqa: E402
from mmptq.runtime import open_session  # noqa: E402
from mmptq.targets import TARGETS  # noqa: E402
from tests.calibration_support import make_context  # noqa: E402, F401
from tests.export_support import CFG, REAL, Make, example, make_model  # noqa: E402, F401
from tests.stock_models import build_stock  # noqa: E402

FAMILIES = ("retinanet", "faster_rcnn")


@pytest.mark.parametrize("runtime", REAL)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_float_detector_is_mmdetections(
    family: str,
    runtime: str,
    make_model: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Batches and images of other sizes than the one that was traced."""
    pytest.importorskip(runtime)
    model = make_model(family)
    part = make_part(model.model)
    write(export_float(model, part, example(64, 96)), tmp_path / "m.onnx")
    network = SessionNetwork(open_session(tmp_path / "m.onnx", runtime, threads=1), part.inputs)
    with float_form(model), torch.no_grad():
        for batch in (example(64, 96), example(160, 128, 3), example(48, 48)):
            expected, found = part(*part.arguments(batch)), network(*part.arguments(batch))
            assert [y.shape for y in found] == [y.shape for y in expected]
            assert (expected[2] >= 0).any()
            for i in range(len(batch["image"])):
                # Equal scores have no order.
                like = likeness(
                    Detections(*(y[i] for y in expected)), Detections(*(y[i] for y in found))
                )
                assert like.close, like


def test_more_regions_than_were_traced(make_model: Make, tmp_path: Path) -> None:  # noqa: F811
    """How many regions are left of a thousand depends on the image."""
    model: Any = make_model("faster_rcnn")
    model.model.rpn_head.test_cfg.update(nms_pre=1000, max_per_img=1000)
    part, large = make_part(model.model), example(512, 512)
    graph = export_float(model, part, example(64, 96))
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info("region_labels"))
    write(graph, tmp_path / "m.onnx")
    session = open_session(tmp_path / "m.onnx", "onnxruntime", threads=1)
    found = session.run({name: tensor.numpy() for name, tensor in large.items()})
    with float_form(model), torch.no_grad():
        features = model.model.extract_feat(large["image"])
        meta = [{"img_shape": (512, 512), "scale_factor": (1.0, 1.0)}]
        head = model.model.rpn_head
        (regions,) = head.predict_by_feat(*head(features), batch_img_metas=meta, rescale=False)
    assert len(regions) > 500
    assert (found["region_labels"] >= 0).sum() == len(regions)


@pytest.mark.parametrize("runtime", REAL)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantized_detector(
    family: str,
    runtime: str,
    make_model: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    pytest.importorskip(runtime)
    model = make_model(family, target=runtime)
    part, examples = make_part(model.model), [example(64, 96), example(96, 64)]
    target = TARGETS[runtime]
    graph = export_model(model, part, CFG, target, examples[0], ("a", "b"))
    paths = tmp_path / "quantized.onnx", tmp_path / "float.onnx"
    write(graph, paths[0])
    write(export_float(model, part, examples[0]), paths[1])
    found = verify(part, model, graph, paths, runtime, examples)
    found.raise_for_layers()
    assert found.part == "detector" and found.images == 2
    calls = sum(len(plan.inputs) for plan in model.plan.layers)
    assert len(found.layers) >= calls // 2 and 0 < found.integers <= found.products
    assert found.close >= found.float64_close - 1
    assert found.agreement >= found.float64_agreement - 0.1
    assert found.score_difference < 0.05 and found.distance is None
    network = SessionNetwork(open_session(paths[0], runtime, threads=1), part.inputs)
    # Whatever rounding makes of random weights on this CPU, the model gives what the file gives.
    boxes, scores, labels = (output[0] for output in network(*part.arguments(examples[1])))
    there = labels >= 0
    with part.computed_by(network, examples[1]):
        computed = part.detections(examples[1])
    assert there.any()
    assert likeness(Detections(boxes[there], scores[there], labels[there]), computed).close
    metadata = network.session.metadata
    assert metadata["outputs"] == ["boxes", "scores", "labels"]


def test_nothing_is_found(make_model: Make, tmp_path: Path) -> None:  # noqa: F811
    """Neither regions nor boxes: their number is 0 where code counts on more."""
    pytest.importorskip("onnxruntime")
    for family in FAMILIES:
        model = make_model(family)
        head: Any = model.model.bbox_head if family == "retinanet" else model.model.roi_head
        head.test_cfg.score_thr = 0.999
        part = make_part(model.model)
        graph = export_float(model, part, example(64, 96))
        write(graph, tmp_path / "m.onnx")
        session = open_session(tmp_path / "m.onnx", "onnxruntime", threads=1)
        network = SessionNetwork(session, part.inputs)
        tiny = {**example(64, 96), "size": torch.zeros(1, 2)}  # every box is clipped to nothing
        for one in (example(64, 96), tiny):
            assert (network(*part.arguments(one))[2] == -1).all()


def test_static_graphs(make_model: Make, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("onnxruntime")
    for family in FAMILIES:
        model = make_model(family)
        part, one = make_part(model.model), example(64, 96)
        graph = export_float(model, part, one, static=True)
        with float_form(model):
            check_graph(part, graph, "onnxruntime", [one], static=True)
        dims = [dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim]
        assert dims == [1, 3, 64, 96]


STOCK = (
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "atss/atss_r50_fpn_1x_coco.py",
    "gfl/gfl_r50_fpn_1x_coco.py",
    "fsaf/fsaf_r50_fpn_1x_coco.py",
)


@pytest.mark.parametrize("path", STOCK)
def test_stock_detectors_of_one_stage(path: str) -> None:
    pytest.importorskip("onnxruntime")
    model = build_stock(path)
    part, one = make_part(model.model), example(96, 128)
    graph = export_float(model, part, one)
    with float_form(model):
        check_graph(part, graph, "onnxruntime", [one], static=False)


def test_what_has_no_graph_is_named(make_model: Make) -> None:  # noqa: F811
    model: Any = make_model("faster_rcnn").model
    with pytest.raises(ConfigError, match="of a FasterRCNN can be exported: detector"):
        make_part(model, "classifier")
    with pytest.raises(ConfigError, match="only single-stage detectors"):
        make_part(model, "heads")
    model.roi_head.mask_head = torch.nn.Identity()
    with pytest.raises(ConfigError, match="mask_head: .* boxes only"):
        make_part(model, "detector")
    with pytest.raises(ConfigError, match="CascadeRoIHead predicts in a way of its own"):
        make_part(build_stock("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py").model)
    with pytest.raises(ConfigError, match="DETR predicts in a way of its own"):
        make_part(build_stock("detr/detr_r50_8xb2-150e_coco.py").model)


def test_soft_nms_is_refused(make_model: Make) -> None:  # noqa: F811
    model: Any = make_model("retinanet")
    model.model.bbox_head.test_cfg.nms.type = "soft_nms"
    part = make_part(model.model)
    with pytest.raises(ConfigError, match=r"nms\.type = 'soft_nms'"):
        export_float(model, part, example(64, 96))


def test_a_graph_that_finds_other_things(make_model: Make) -> None:  # noqa: F811
    pytest.importorskip("onnxruntime")
    model: Any = make_model("retinanet")
    part, one = make_part(model.model), example(64, 96)
    graph = export_float(model, part, one)
    model.model.bbox_head.test_cfg.nms.iou_threshold = 0.05
    with float_form(model), pytest.raises(MmptqError, match="RetinaNet finds other things"):
        check_graph(part, graph, "onnxruntime", [one], static=False)
