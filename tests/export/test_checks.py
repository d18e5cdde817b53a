"""What cannot be exported is named."""

import re

import pytest
import torch
from mmcv.ops import DeformConv2d

from mmptq.algorithms import BiasCorrection
from mmptq.errors import CheckpointError, ConfigError
from mmptq.export import checks
from mmptq.export.checks import check_exportable, check_installed, target_note
from mmptq.models import Plan
from mmptq.targets import TARGETS
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.transformer_support import MakeTransformer, make_transformer  # noqa: F401

OPENVINO, TENSORRT = TARGETS["openvino"], TARGETS["tensorrt"]


def qconfig(weight: int = 8, **act: object) -> dict[str, object]:
    return {"weight": {"num_bits": weight}, "act": {"num_bits": 8, **act}}


def test_what_fits_is_accepted(make_context: MakeContext) -> None:  # noqa: F811
    for target in TARGETS.values():
        symmetric = dict(symmetric=True, type="SignedQuantizer") if target is TENSORRT else {}
        context = make_context("retinanet", qconfig=qconfig(**symmetric), folder=target.name)
        check_exportable(context.model, target)


def test_a_float_model(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", ranges=False)
    with pytest.raises(CheckpointError, match="not quantized: give quantized.pth"):
        check_exportable(context.model, OPENVINO)


@pytest.mark.parametrize("bits", [9, 16])
def test_too_many_bits(bits: int, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", qconfig=qconfig(bits))
    with pytest.raises(ConfigError, match=rf"weight.num_bits = {bits}: .* at most 8 bits"):
        check_exportable(context.model, OPENVINO)


def test_weights_off_their_grid(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    BiasCorrection().run(context)
    with pytest.raises(ConfigError, match=r"backbone\.conv1: .*mode='measured'"):
        check_exportable(context.model, OPENVINO)


def test_deformable_convolutions(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    context.model.model.backbone.extra = DeformConv2d(4, 4, 3)
    with pytest.raises(ConfigError, match=r"backbone\.extra: a DeformConv2d is deformable"):
        check_exportable(context.model, OPENVINO)


@pytest.mark.parametrize("kind", ["LogQuantizer", "TwinQuantizer"])
def test_levels_of_their_own(kind: str, make_transformer: MakeTransformer) -> None:  # noqa: F811
    overrides = [{"role": "softmax", "act": {"type": kind}}]
    context = make_transformer("vit", qconfig={**qconfig(), "overrides": overrides})
    message = rf"blocks\.0\.attn\.product\.probs:0: act.type = '{kind}': .*UniformQuantizer"
    with pytest.raises(ConfigError, match=message):
        check_exportable(context.model, OPENVINO)


def test_the_target_decides(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", qconfig=qconfig(symmetric=True))
    with pytest.raises(ConfigError, match=r"--target tensorrt: the input of .* unsigned codes"):
        check_exportable(context.model, TENSORRT)
    site = next(iter(context.model.sites.values()))
    site.zero_point.copy_(torch.tensor(3.0))
    with pytest.raises(ConfigError, match=r"--target tensorrt: the input of .* a zero point"):
        check_exportable(context.model, TENSORRT)


@pytest.mark.parametrize(("package", "extra"), [("onnx", "openvino"), ("openvino", "openvino")])
def test_a_missing_package(package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checks.importlib.util, "find_spec", lambda name: None if name == package else object()
    )
    with pytest.raises(ConfigError, match=rf"needs {package}: pip install 'mmptq\[{extra}\]'"):
        check_installed(OPENVINO)


@pytest.mark.parametrize(
    ("made", "target", "message"),
    [
        ("onnxruntime", "openvino", "for onnxruntime .* openvino, which keeps biases as they are"),
        ("openvino", "onnxruntime", "for openvino .* onnxruntime, which rounds biases"),
        (None, "onnxruntime", "for no target .* qconfig.target=onnxruntime"),
        ("onnxruntime", "generic", "for onnxruntime .* generic, which keeps biases as they are"),
        ("openvino", "generic", "for openvino .* generic, whose rules are the same for it$"),
        ("onnxruntime", "onnxruntime", None),
        (None, "openvino", None),
    ],
)
def test_another_target_than_it_was_made_for(
    made: str | None, target: str, message: str | None
) -> None:
    rounded = (("conv", 0),) if made == "onnxruntime" else ()
    plan = Plan("RetinaNet", "full", (), (), (), target=made, int32_bias=rounded)
    note = target_note(plan, TARGETS[target])
    assert note is None if message is None else re.search(message, str(note))
