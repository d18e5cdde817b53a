"""``qconfig.target``: what a runtime can execute decides the plan, and the checkpoint knows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmptq.errors import ConfigError
from mmptq.export.checks import check_exportable
from mmptq.models import Plan, QConfig
from mmptq.models.trace import flatten_tensors
from mmptq.targets import TARGETS
from tests.calibration_support import MakeContext, make_context  # noqa: F401

W8A8: dict[str, Any] = {"weight": {"num_bits": 8}, "act": {"num_bits": 8}}


def test_weights_have_at_most_7_bits_everywhere() -> None:
    target = dict(type="openvino", reduce_range=True)
    wide = [dict(pattern="a.*", weight=dict(num_bits=16)), dict(pattern="b", act=None)]
    qconfig = QConfig.parse({**W8A8, "target": target, "overrides": wide})
    for name, roles in (("a.b", ()), ("b", ()), ("c", ("first",)), ("d", ("last",))):
        weight, _ = qconfig.resolve(name, roles)
        assert weight is not None and weight.num_bits == 7
    assert (
        QConfig.parse({"weight": {"num_bits": 4}, "target": target}).resolve("x", ())[0]
        == (QConfig.parse({"weight": {"num_bits": 4}}).resolve("x", ())[0])
    )


def test_tensorrt_has_signed_codes_alone() -> None:
    overrides = [dict(pattern="a", act=dict(num_bits=4)), dict(pattern="b", act=None)]
    qconfig = QConfig.parse({**W8A8, "target": "tensorrt", "overrides": overrides})
    for name in ("a", "c"):
        _, act = qconfig.resolve(name, ())
        assert act is not None and act.symmetric and act.type == "SignedQuantizer"
    assert qconfig.resolve("b", ())[1] is None


def test_weights_without_zero_points() -> None:
    affine = {"weight": {"num_bits": 4, "symmetric": False}}
    for name, target in TARGETS.items():
        weight, _ = QConfig.parse({**affine, "target": name}).resolve("x", ())
        assert weight is not None and weight.symmetric != target.weight_zero_points


def test_others_change_nothing() -> None:
    plain, generic = QConfig.parse(W8A8), QConfig.parse({**W8A8, "target": "generic"})
    assert plain.resolve("x", ()) == generic.resolve("x", ())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tflite", r"qconfig.target = 'tflite': must be one of onnxruntime, openvino"),
        (7, r"qconfig.target = 7: must be a name"),
        (dict(reduce_range=True), r"must be a name .*or a dict of one"),
        (dict(type="openvino", reduced_range=True), r"did you mean 'reduce_range'\?"),
        (dict(type="openvino", reduce_range=1), r"reduce_range = 1: must be True or False"),
        (dict(type="openvino", quantize_outputs="no"), r"quantize_outputs = 'no': must be True"),
        (dict(type="openvino", output_bits=9), r"output_bits = 9: must be a number from 2 to 8"),
        (dict(type="openvino", output_bits=True), r"output_bits = True: must be a number"),
    ],
)
def test_errors(target: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QConfig.parse({**W8A8, "target": target})


@torch.no_grad()
def test_the_checkpoint_knows_the_rounding_of_biases(
    tmp_path: Path,
    make_context: MakeContext,  # noqa: F811
) -> None:
    w4a4 = {"weight": {"num_bits": 4}, "act": {"num_bits": 4}}
    contexts = [
        make_context("retinanet", qconfig=qconfig, folder=folder)
        for folder, qconfig in (("a", {**w4a4, "target": "onnxruntime"}), ("b", w4a4))
    ]
    plans = [context.model.plan for context in contexts]
    assert [bool(plan.int32_bias) for plan in plans if plan] == [True, False]
    assert plans[0] is not None and Plan.from_tensor(plans[0].to_tensor()) == plans[0]
    for context in contexts:
        check_exportable(context.model, TARGETS["onnxruntime"])
    torch.save(contexts[0].model.state_dict(), tmp_path / "quantized.pth")
    fresh = make_context("retinanet", folder="c", qconfig={**w4a4, "target": "onnxruntime"})
    fresh.model.load_state_dict(torch.load(tmp_path / "quantized.pth", weights_only=True))
    image = fresh.adapter.trace_image()
    outputs = []
    for context in (contexts[0], fresh, contexts[1]):
        context.model.start_pass()
        outputs.append(list(flatten_tensors(context.adapter.raw_outputs(image))))
    assert all(torch.equal(a, b) for a, b in zip(outputs[0], outputs[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(outputs[0], outputs[2], strict=True))


def test_a_plan_of_before_has_no_target() -> None:
    plan = Plan("RetinaNet", "full", (), (), ())
    raw = json.loads(bytes(plan.to_tensor().tolist()))
    del raw["target"], raw["int32_bias"]
    old = torch.tensor(list(json.dumps(raw).encode()), dtype=torch.uint8)
    assert Plan.from_tensor(old) == plan
