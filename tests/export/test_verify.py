"""The check at the end of an export: passes what is right, finds what is not."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

onnx = pytest.importorskip("onnx")
from onnx import numpy_helper  # noqa: E402

from mmptq.errors import ConfigError, MmptqError  # noqa: E402
from mmptq.export.export import export_float, export_model, write  # noqa: E402
from mmptq.export.kinds import make_part  # noqa: E402
from mmptq.export.verification import Verification  # noqa: E402
from mmptq.export.verify import verify  # noqa: E402
from mmptq.runtime import RUNTIMES, open_session  # noqa: E402
from mmptq.targets import TARGETS  # noqa: E402
from tests.calibration_support import MakeContext, make_context  # noqa: E402, F401
from tests.export_support import REAL  # noqa: E402

CFG = Config({"test_dataloader": {"dataset": {"pipeline": [{"type": "LoadImageFromFile"}]}}})
W7A8 = {"weight": {"num_bits": 7}, "act": {"num_bits": 8}}

Exported = tuple[Any, Any, Any, list[dict[str, torch.Tensor]]]


def example(height: int, width: int) -> dict[str, torch.Tensor]:
    size = torch.tensor([[height, width]], dtype=torch.float32)
    return {"image": torch.randn(1, 3, height, width), "size": size}


@pytest.fixture
def exported(make_context: MakeContext) -> Callable[..., Exported]:  # noqa: F811
    def make(runtime: str, qconfig: Any = W7A8, **kind: Any) -> Exported:
        pytest.importorskip(RUNTIMES[TARGETS[runtime].runtime].package)
        context = make_context("retinanet", qconfig=qconfig)
        torch.manual_seed(0)
        images = [example(64, 96), example(96, 64)]
        part = make_part(context.model.model, "heads")
        target = TARGETS[runtime]
        graph = export_model(context.model, part, CFG, target, images[0], ("a", "b"), **kind)
        return context.model, part, graph, images

    return make


def check(made: Exported, runtime: str, folder: Path, graph: Any = None) -> Verification:
    model, part, right, images = made
    paths = folder / "quantized.onnx", folder / "float.onnx"
    graph = right if graph is None else graph
    write(graph, paths[0])
    write(export_float(model, part, images[0]), paths[1])
    return verify(part, model, graph, paths, runtime, images)


@pytest.mark.parametrize("runtime", REAL)
@pytest.mark.parametrize("weight_bits", [4, 7])
def test_a_runtime_computes_the_simulation(
    runtime: str, weight_bits: int, exported: Any, tmp_path: Path
) -> None:
    """7 bits: 8 saturate on some CPUs; the first and the last layers have 7 as well."""
    ends = [dict(role=role, weight=dict(num_bits=weight_bits)) for role in ("first", "last")]
    qconfig = {**W7A8, "weight": {"num_bits": weight_bits}, "overrides": ends}
    made = exported(runtime, qconfig)
    found = check(made, runtime, tmp_path)
    found.raise_for_layers()
    calls = sum(len(p.inputs) if p.name.startswith("bbox") else 1 for p in made[0].plan.layers)
    assert len(found.layers) == calls
    if weight_bits == 7:  # at 4 bits ONNX Runtime's rounding of biases to integers shows
        assert min(layer.equal for layer in found.layers) > 0.9
    assert 0 < found.integers <= found.products
    assert found.megabytes < (0.45 if weight_bits == 7 else 0.35) * found.float_megabytes
    assert found.milliseconds > 0 < found.float_milliseconds
    assert found.to_dict()["layers"][0]["name"] == "backbone.conv1"
    assert "products in integers" in str(found.table().columns[0]._cells)


@pytest.mark.parametrize("target", ["generic", "tensorrt"])
def test_graphs_for_other_readers_are_checked_as_they_stand(
    target: str, exported: Any, tmp_path: Path
) -> None:
    """Eight bits, on any CPU."""
    act: dict[str, Any] = {"num_bits": 8}
    if target == "tensorrt":
        act |= {"symmetric": True, "type": "SignedQuantizer"}
    made = exported(target, {"weight": {"num_bits": 8}, "act": act})
    found = check(made, TARGETS[target].runtime, tmp_path)
    found.raise_for_layers()
    assert min(layer.equal for layer in found.layers) > 0.99
    assert found.distance < 1e-3 and found.integers == 0 < found.products


@pytest.mark.parametrize("runtime", REAL)
@pytest.mark.parametrize("weight_bits", [4, 7])
def test_quantized_outputs_bring_more_integers(
    runtime: str, weight_bits: int, exported: Any, tmp_path: Path
) -> None:
    """At 8 bits layers and additions read through one quantizer, at 4 one behind the other."""
    act = {"num_bits": 8 if weight_bits == 7 else 4}
    target = dict(type=runtime, reduce_range=True)
    counts = []
    for outputs in (False, True):
        qconfig = {"weight": {"num_bits": weight_bits}, "act": act}
        qconfig["target"] = {**target, "quantize_outputs": outputs}
        found = check(exported(runtime, qconfig), runtime, tmp_path)
        found.raise_for_layers()
        assert min(layer.equal for layer in found.layers) > 0.99
        counts.append(found.integers)
    more = 15 if runtime == "onnxruntime" else 0
    assert counts[1] - counts[0] == more


@pytest.mark.parametrize(("agreement", "itself", "right"), [(0.5, 0.7, True), (0.2, 0.7, False)])
def test_a_whole_that_is_wrong_is_found(agreement: float, itself: float, right: bool) -> None:
    found = Verification("openvino", "detector", agreement=agreement, float64_agreement=itself)
    message = "20% of the detections are in both, 70% in those of the simulation in float32"
    with nullcontext() if right else pytest.raises(MmptqError, match=message):
        found.raise_for_images()


@pytest.mark.parametrize("runtime", REAL)
def test_what_a_runtime_finds_is_compared(runtime: str, exported: Any, tmp_path: Path) -> None:
    """A graph whose last layers are silent: each layer alone is what the simulation knows of."""
    model, part, graph, images = made = exported(runtime)
    found = check(made, runtime, tmp_path)
    assert found.agreement > found.float64_agreement - 0.1
    silent = onnx.ModelProto()
    silent.CopyFrom(graph)
    for node in silent.graph.node:  # what Q and DQ of the image give reaches no layer
        node.input[:] = ["nothing" if name == "image" else name for name in node.input]
    zero = silent.graph.node.add()
    zero.CopyFrom(onnx.helper.make_node("Sub", ["image", "image"], ["nothing"]))
    silent.graph.node.insert(0, silent.graph.node.pop())
    found = check(made, runtime, tmp_path, silent)
    found.raise_for_layers()
    assert found.agreement < found.float64_agreement
    with pytest.raises(MmptqError, match=f"{runtime} finds other things"):
        found.raise_for_images()


def test_a_wrong_layer_is_found(exported: Any, tmp_path: Path) -> None:
    made = exported("onnxruntime")
    graph = onnx.ModelProto()
    graph.CopyFrom(made[2])
    codes = next(
        tensor
        for tensor in graph.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    )
    wrong = -numpy_helper.to_array(codes)
    codes.CopyFrom(numpy_helper.from_array(wrong.astype(np.int8), codes.name))
    found = check(made, "onnxruntime", tmp_path, graph)
    assert [layer.name for layer in found.saturated] == ["backbone.conv1"]
    with pytest.raises(MmptqError, match=r"1 of \d+ layers .* backbone\.conv1 .*w8a8_cpu\.py"):
        found.raise_for_layers()


def test_a_layer_that_is_not_there_is_missed(exported: Any, tmp_path: Path) -> None:
    model, part, graph, images = exported("onnxruntime")
    model.weight_quantizers()["backbone.conv1"].enabled = False
    with pytest.raises(MmptqError, match="the graph has .* quantized layers, the simulation runs"):
        check((model, part, graph, images), "onnxruntime", tmp_path)


@pytest.mark.parametrize("runtime", REAL)
def test_the_file_takes_images_of_any_size_and_tells_what_it_is(
    runtime: str, exported: Any, tmp_path: Path
) -> None:
    _, part, graph, _ = exported(runtime)
    write(graph, tmp_path / "m.onnx")
    session = open_session(tmp_path / "m.onnx", runtime, threads=1)
    image = torch.randn(2, 3, 128, 32)
    found = session.run({"image": image.numpy()})
    with torch.no_grad():
        assert [found[name].shape for name in session.outputs] == [y.shape for y in part(image)]
    metadata = session.metadata
    assert metadata["model"] == "RetinaNet" and metadata["part"] == "heads"
    assert metadata["classes"] == ["a", "b"] and metadata["target"] == runtime
    assert metadata["outputs"] == list(session.outputs)


def test_static_files_take_one_size(exported: Any, tmp_path: Path) -> None:
    graph = exported("onnxruntime", static=True)[2]
    shape = [dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 3, 64, 96]


def test_parts_of_another_model(make_context: MakeContext) -> None:  # noqa: F811
    model = make_context("retinanet", images=1).model.model
    with pytest.raises(ConfigError, match="of a RetinaNet can be exported: detector, heads"):
        make_part(model, "classifier")
    assert make_part(model).name == "detector"
