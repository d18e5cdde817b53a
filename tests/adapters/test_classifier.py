"""The classifier adapter, against hand-picked units and torch's own loss."""

from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F

from mmptq.adapters import ClassifierAdapter, find_adapter
from mmptq.classifiers import BackboneClassifier, CifarResNet
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.models import quantizable_layers

BACKBONES: dict[str, dict[str, Any]] = {
    "resnet": dict(type="ResNet", depth=50, base_channels=8, stem_channels=8, init_cfg=None),
    "mobilenetv2": dict(type="MobileNetV2", widen_factor=0.25, out_indices=(7,)),
    "swin": dict(
        type="SwinTransformer",
        embed_dims=12,
        depths=(2, 2),
        num_heads=(2, 2),
        strides=(4, 2),
        out_indices=(1,),
        window_size=4,
    ),
}
# Blocks of each network, and its layers that belong to none.
UNITS = {
    "resnet": (
        {f"layer{s}.{b}" for s, n in zip("1234", (3, 4, 6, 3), strict=True) for b in range(n)},
        {"conv1"},
    ),
    "mobilenetv2": (
        {
            f"layer{s}.{b}"
            for s, n in zip("1234567", (1, 2, 3, 4, 3, 3, 1), strict=True)
            for b in range(n)
        },
        {"conv1", "conv2"},
    ),
    "swin": (
        {f"stages.{s}.blocks.{b}" for s in "01" for b in "01"},
        {"patch_embed.projection", "stages.0.downsample.reduction"},
    ),
}


def sample(label: int) -> BaseDataElement:
    element = BaseDataElement(metainfo=dict(img_path="7.jpg"))
    element.set_field(torch.tensor([label]), "gt_label", field_type="data")
    return element


@pytest.mark.parametrize("name", BACKBONES)
def test_units_by_structure(name: str) -> None:
    model = BackboneClassifier(BACKBONES[name], num_classes=5, image_size=64)
    adapter = find_adapter(model)
    assert isinstance(adapter, ClassifierAdapter)
    blocks, alone = UNITS[name]
    wanted = {f"backbone.{unit}" for unit in (*blocks, *alone)} | {"head.fc"}
    found = {adapter.unit_of(layer, "block") for layer in quantizable_layers(model)}
    assert found == wanted
    for layer in quantizable_layers(model):
        assert layer == adapter.unit_of(layer, "layer") or layer.startswith(
            adapter.unit_of(layer, "layer") + ".conv"
        )


def test_units_from_the_config() -> None:
    adapter = find_adapter(CifarResNet(depth=8))
    adapter.set_units(["layer[12]"])
    assert adapter.unit_of("layer1.0.conv1", "block") == "layer1"
    assert adapter.unit_of("layer3.0.conv1", "block") == "layer3.0"
    with pytest.raises(ConfigError, match=r"calib_cfg.units: 'layer5\*' matches no module"):
        adapter.set_units(["layer5*"])


def test_loss_and_labels() -> None:
    adapter = find_adapter(CifarResNet(depth=8).eval())
    images = torch.randn(3, 3, 32, 32)
    samples: Any = [sample(k) for k in (1, 9, 4)]
    adapter.check_labels(samples, "x.jpg")
    frozen = adapter.freeze(images, samples, with_labels=True)
    logits = adapter.head_outputs(images, frozen)
    loss = adapter.loss(images, frozen)["loss"]
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([1, 9, 4])))
    with pytest.raises(CalibrationDataError, match="8.jpg has no label"):
        adapter.check_labels([BaseDataElement(metainfo=dict(img_path="8.jpg"))], "8.jpg")


class Features(BaseModel):
    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        return self.conv(inputs)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)


def test_a_model_without_logits_is_refused() -> None:
    adapter = find_adapter(Features())
    with pytest.raises(ConfigError, match=r"Features gives \(2, 4, 6, 6\) for 2 images"):
        adapter.raw_outputs(torch.zeros(2, 3, 8, 8))


class Classes:
    def __init__(self, *names: str) -> None:
        self.metainfo = {"classes": names} if names else {}


def test_number_of_classes() -> None:
    model = CifarResNet(depth=8, num_classes=3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    adapter = find_adapter(model)
    adapter.check_dataset(Classes("a", "b", "c"), "the test set")  # type: ignore[arg-type]
    adapter.check_dataset(Classes(), "the test set")  # type: ignore[arg-type]
    with pytest.raises(CalibrationDataError, match="the test set has 2 classes .*the model 3"):
        adapter.check_dataset(Classes("a", "b"), "the test set")  # type: ignore[arg-type]
    # Batch norms have learned nothing from it.
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_size_of_the_traced_image() -> None:
    assert find_adapter(CifarResNet(depth=8)).trace_image().shape == (1, 3, 32, 32)
    assert find_adapter(Features()).trace_size == (224, 224)
