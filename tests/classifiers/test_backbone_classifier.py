import pytest
import torch

from mmptq.classifiers import BackboneClassifier
from mmptq.errors import ConfigError

BACKBONES = {
    "resnet": dict(type="ResNet", depth=18, base_channels=8, stem_channels=8, init_cfg=None),
    "resnext": dict(type="ResNeXt", depth=50, groups=4, base_width=4, init_cfg=None),
    "regnet": dict(type="RegNet", arch="regnetx_400mf", init_cfg=None),
    "mobilenetv2": dict(type="MobileNetV2", widen_factor=0.25, out_indices=(7,)),
    "swin": dict(
        type="SwinTransformer",
        embed_dims=12,
        depths=(1, 1),
        num_heads=(2, 2),
        strides=(4, 2),
        out_indices=(1,),
        window_size=4,
    ),
    "pvt": dict(
        type="PyramidVisionTransformer",
        embed_dims=8,
        num_layers=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        pretrain_img_size=64,
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone(name: str) -> None:
    model = BackboneClassifier(BACKBONES[name], num_classes=7, image_size=64).eval()
    with torch.no_grad():
        images = torch.randn(2, 3, 64, 64)
        features = model.backbone(images)[-1]
        logits = model(images)
    assert logits.shape == (2, 7)
    fc = model.head.fc
    torch.testing.assert_close(logits, features.mean((2, 3)) @ fc.weight.T + fc.bias)


def test_tensors_are_named_as_in_mmpretrain() -> None:
    names = set(BackboneClassifier(BACKBONES["resnet"], num_classes=7).state_dict())
    assert {"backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "head.fc.bias"} <= names
    assert {name.split(".")[0] for name in names} == {"backbone", "head"}


@pytest.mark.parametrize("backbone", [dict(type="ResNot"), dict(type="ResNet", depth=19)])
def test_backbone_that_cannot_be_built(backbone: dict) -> None:
    with pytest.raises(ConfigError, match="model.backbone = "):
        BackboneClassifier(backbone)
