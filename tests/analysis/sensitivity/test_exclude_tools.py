"""The exclusion lists in NNCF and ONNX Runtime themselves: just what they name stays in float."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmptq.analysis.sensitivity.exclude import excluded_layers, ignored_scopes
from mmptq.export.parts import INPUT, SIZE
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.sensitivity_support import record

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from mmptq.export.export import export_float, write  # noqa: E402
from mmptq.export.kinds import make_part  # noqa: E402
from mmptq.export.nodes import (  # noqa: E402
    nodes_by_layer,
    nodes_making_inputs,
    nodes_touching_inputs,
)

Images = list[dict[str, np.ndarray]]
WEIGHT, ACT = "bbox_head.reg_convs.0.conv", "backbone.layer2.0.conv1"
THROUGH = ("Relu", "Mul", "MaxPool", "Reshape", "Transpose", "Clip")


@pytest.fixture(params=["ReLU", "SiLU"])
def project(
    request: pytest.FixtureRequest,
    make_context: MakeContext,  # noqa: F811
    tmp_path: Path,
) -> tuple[Path, Any, Images]:
    """A float graph, the lists that spare a weight and an activation, and images."""
    model = make_context("retinanet", ranges=False).model
    assert model.plan is not None
    for module in model.model.backbone.modules():
        if hasattr(module, "relu"):
            module.relu = getattr(torch.nn, request.param)()
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([[128.0, 128.0]])
    images = [{INPUT: torch.randn(1, 3, 128, 128, generator=generator), SIZE: size} for _ in "12"]
    exported = export_float(model, make_part(model.model), images[0])
    write(exported, tmp_path / "float.onnx")
    worst = [record(WEIGHT), record(ACT, which="act")]
    layers = excluded_layers(worst, model.plan)
    nodes = nodes_by_layer(exported.graph, layers)
    making = nodes_making_inputs(exported.graph, nodes[ACT])
    touching = nodes_touching_inputs(exported.graph, nodes[ACT])
    scopes = ignored_scopes(layers, nodes, making, touching)
    return tmp_path, scopes, [{k: v.numpy() for k, v in image.items()} for image in images]


def rounded(path: Path) -> dict[str, tuple[bool, bool]]:
    """Of each product: whether what it reads and its weight come from quantizers."""
    nodes = onnx.load(path).graph.node
    writer = {name: node for node in nodes for name in node.output}

    def behind_one(name: str) -> bool:
        node = writer.get(name)
        while node is not None and node.op_type in THROUGH:
            node = writer.get(node.input[0])
        return node is not None and node.op_type == "DequantizeLinear"

    products = [node for node in nodes if node.op_type in ("Conv", "Gemm", "MatMul")]
    return {n.name: (behind_one(n.input[0]), behind_one(n.input[1])) for n in products}


def check_it_runs(path: Path, images: Images) -> None:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = session.run(None, images[0])
    assert outputs and all(np.isfinite(output).all() for output in outputs)


def test_onnxruntime_leaves_out_what_touches_them(project: tuple[Path, Any, Images]) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization", reason="cannot quantize")
    folder, scopes, images = project

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[dict[str, np.ndarray]] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    found = []
    for excluded in ([], scopes["nodes_to_exclude"]):
        path = folder / f"{len(excluded)}.onnx"
        quantization.quantize_static(
            folder / "float.onnx",
            path,
            Reader(),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=excluded,
        )
        found.append(rounded(path))
    everything, spared = found
    assert set(everything.values()) == {(True, True)}
    excluded = set(scopes["nodes_to_exclude"]) & set(spared)
    assert {name for name, (_, weight) in spared.items() if not weight} == excluded
    reader = "/backbone/layer2/layer2.0/conv1/Conv"
    assert spared[reader] == (False, False)
    assert sum("reg_convs.0" in name for name in excluded) == 5
    assert all(spared[name] == (True, True) for name in set(spared) - excluded)
    check_it_runs(path, images)


def by_nncf_in_onnx(folder: Path, images: Images, **scope: Any) -> dict[str, tuple[bool, bool]]:
    nncf = pytest.importorskip("nncf")
    path = folder / f"nncf{len(scope)}.onnx"
    model = onnx.load(folder / "float.onnx")
    onnx.save(nncf.quantize(model, nncf.Dataset(images), subset_size=len(images), **scope), path)
    check_it_runs(path, images)
    return rounded(path)


def by_nncf_in_openvino(folder: Path, images: Images, **scope: Any) -> dict[str, tuple[bool, bool]]:
    nncf, openvino = pytest.importorskip("nncf"), pytest.importorskip("openvino")
    model = openvino.Core().read_model(folder / "float.onnx")
    model = nncf.quantize(model, nncf.Dataset(images), subset_size=len(images), **scope)
    outputs = openvino.compile_model(model, "CPU")(images[0])
    assert all(np.isfinite(output).all() for output in outputs.values())
    found = {}
    for operation in model.get_ops():
        if operation.get_type_name() in ("Convolution", "MatMul"):
            name = operation.get_friendly_name().removesuffix("/WithoutBiases")
            found[name] = (behind_fake(operation, 0), behind_fake(operation, 1))
    return found


def behind_fake(operation: Any, port: int) -> bool:
    through = ("Relu", "MaxPool", "Reshape", "Convert", "Multiply", "Subtract")
    node = operation.input(port).get_source_output().get_node()
    while node.get_type_name() in through:
        node = node.input(0).get_source_output().get_node()
    # A weight's quantizer may be folded into an integer constant.
    integer = node.get_type_name() == "Constant" and node.get_element_type().is_integral()
    return node.get_type_name() == "FakeQuantize" or integer


@pytest.mark.parametrize("quantize", [by_nncf_in_onnx, by_nncf_in_openvino])
def test_nncf_leaves_out_just_the_layers(
    quantize: Callable[..., dict[str, tuple[bool, bool]]], project: tuple[Path, Any, Images]
) -> None:
    nncf = pytest.importorskip("nncf", reason="nncf is not installed: pip install mmptq[peers]")
    folder, scopes, images = project
    scope = nncf.IgnoredScope(**scopes["nncf_ignored_scope"])
    everything = quantize(folder, images)
    spared = quantize(folder, images, ignored_scope=scope)
    named = {name for name in scopes["nodes_to_exclude"] if "reg_convs.0" in name}
    named.add("/backbone/layer2/layer2.0/conv1/Conv")
    assert len(named) == 6 and all(everything[name] == (True, True) for name in named)
    assert {name for name in spared if spared[name] != everything[name]} == named
    assert all(spared[name] == (False, False) for name in named)


def test_nncf_knows_modules_by_these_patterns() -> None:
    pytest.importorskip("nncf", reason="nncf is not installed: pip install mmptq[peers]")
    from nncf import IgnoredScope
    from nncf.scopes import get_ignored_node_names_from_ignored_scope
    from nncf.torch.function_hook.nncf_graph.nncf_graph_builder import build_nncf_graph
    from nncf.torch.function_hook.wrapper import wrap_model

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 1) for _ in range(2)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)

    graph = build_nncf_graph(wrap_model(Net().eval()), torch.randn(1, 3, 4, 4))
    scopes = ignored_scopes(["layers.1"], None)
    scope = IgnoredScope(**scopes["nncf_ignored_scope"])
    assert get_ignored_node_names_from_ignored_scope(scope, graph) == {"layers/1/conv2d/0"}
