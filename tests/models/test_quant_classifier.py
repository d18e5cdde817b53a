"""The wrapped classifier: float and quantized forms, checkpoints."""

from typing import Any

import pytest
import torch
from mmengine.registry import MODELS

from mmptq.adapters import find_adapter
from mmptq.engine import float_form, load_float_checkpoint
from mmptq.models import QConfig, QuantClassifier
from tests.conftest import calibrate_min_max, randomise

CFG: dict[str, Any] = dict(classifier_type="mmptq.CifarResNet", depth=8, num_classes=4)
W4A4 = QConfig.parse(dict(weight=dict(num_bits=4), act=dict(num_bits=4)))


@pytest.fixture
def model() -> QuantClassifier:
    model = MODELS.build(dict(type="mmptq.QuantClassifier", **CFG)).eval()
    randomise(model)
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_shortcut_and_convolution_read_through_one_quantizer(model, images) -> None:
    plan = find_adapter(model.model).plan(W4A4)
    reads = {layer.name: layer.inputs for layer in plan.layers}
    bits = {site.name: site.spec.num_bits for site in plan.sites}
    for block in ("layer1.0", "layer2.0", "layer3.0"):
        assert reads[f"{block}.shortcut"] == reads[f"{block}.conv1"]
        assert bits[reads[f"{block}.conv1"][0]] == bits[reads[f"{block}.conv2"][0]] == 4
    assert [bits[reads[name][0]] for name in ("conv1", "linear")] == [8, 8]
    assert {layer.name for layer in plan.layers if layer.weight is None} == {
        f"layer{s}.0.shortcut" for s in "123"
    }
    assert len(plan.folds) == 7


@torch.no_grad()
def test_quantizers_off_give_the_float_model(model, images) -> None:
    wanted = model(images)
    model.prepare(find_adapter(model.model).plan(W4A4))
    calibrate_min_max(model, images[:1])
    quantized = model(images)
    with float_form(model):
        torch.testing.assert_close(model(images), wanted, rtol=1e-4, atol=1e-5)
    assert (quantized - wanted).abs().max() > 0.05


@torch.no_grad()
def test_shortcut_is_quantized(model, images) -> None:
    """With weights in float, a block's output is that of its quantized input."""
    model.prepare(
        find_adapter(model.model).plan(QConfig.parse(dict(weight=None, act={"num_bits": 2})))
    )
    calibrate_min_max(model, images[:1])
    block = model.model.layer1[0]
    quantizer = block.conv1.input_quantizers[0]
    x = torch.rand(1, 16, 8, 8)
    read = quantizer(x)
    assert len(read.unique()) <= 4
    torch.testing.assert_close(block.shortcut(x), read)


@torch.no_grad()
def test_reload(model, images, tmp_path) -> None:
    model.prepare(find_adapter(model.model).plan(W4A4))
    calibrate_min_max(model, images[:1])
    other = MODELS.build(dict(type="mmptq.QuantClassifier", **CFG)).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images), model(images))


@torch.no_grad()
def test_float_checkpoint_of_the_bare_network(model, images, tmp_path) -> None:
    torch.save({"state_dict": model.model.state_dict()}, tmp_path / "float.pth")
    other = MODELS.build(dict(type="mmptq.QuantClassifier", **CFG)).eval()
    load_float_checkpoint(other, str(tmp_path / "float.pth"))
    assert torch.equal(other(images), model(images))


@torch.no_grad()
def test_plain_modules_state_dict(tmp_path) -> None:
    cfg = dict(
        type="mmptq.QuantClassifier",
        classifier_type="mmptq.ModuleClassifier",
        module="mmptq.classifiers:CifarResNet",
        depth=8,
        image_size=32,
    )
    net = randomise(MODELS.build(dict(type="mmptq.CifarResNet", depth=8))).eval()
    torch.save(net.state_dict(), tmp_path / "plain.pth")
    images = torch.randn(2, 3, 32, 32)
    for load in ("check", "lenient"):
        model = MODELS.build(cfg).eval()
        if load == "check":
            load_float_checkpoint(model, str(tmp_path / "plain.pth"))
        else:  # as MMEngine's runner does
            model.load_state_dict(net.state_dict(), strict=False)
        assert torch.equal(model(images), net(images))
