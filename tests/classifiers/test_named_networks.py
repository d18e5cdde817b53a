"""timm's and torchvision's networks by name, with packages of the test's own in their place."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from mmptq.classifiers import TimmClassifier, TorchvisionClassifier
from mmptq.engine.data.float_checkpoint import load_float_checkpoint
from mmptq.errors import CheckpointError, ConfigError
from mmptq.models import QuantClassifier

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.1, 0.25)
NAMED = [(TimmClassifier, "timm"), (TorchvisionClassifier, "torchvision")]


class Net(nn.Module):
    """For images of any size."""

    def __init__(self, num_classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, width, 3), nn.Linear(width, num_classes)
        self.pretrained_cfg = {"input_size": (3, 32, 32), "mean": MEAN, "std": STD}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).mean(dim=(2, 3)))


class SizedNet(Net):
    """For images of one size, whose argument has one of the packages' names."""

    def __init__(self, img_size: int = 32, image_size: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side = img_size if image_size == 32 else image_size


NETS = {"net18": Net, "sized": SizedNet}


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    net = NETS[name.partition(".")[0]](**kwargs)
    if pretrained:
        nn.init.constant_(net.fc.bias, 7.0)
    return net


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timm and a torchvision that have these networks."""
    timm: Any = ModuleType("timm")
    timm.create_model, timm.list_models = create_model, lambda: list(NETS)
    monkeypatch.setitem(sys.modules, "timm", timm)
    transforms = SimpleNamespace(crop_size=[32], mean=MEAN, std=STD)
    weights = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: transforms))
    vision: Any = ModuleType("torchvision")
    vision.models = SimpleNamespace(
        get_model=lambda name, weights, **kwargs: NETS[name](**kwargs),
        get_model_weights=lambda name: weights,
        list_models=lambda module: list(NETS),
    )
    monkeypatch.setitem(sys.modules, "torchvision", vision)


@pytest.mark.parametrize(("cls", "package"), NAMED)
def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, cls: Any, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    words = rf"mmptq\.{cls.__name__}'.*{package} cannot be imported.*pip install .*install\.md"
    with pytest.raises(ConfigError, match=words):
        cls("net18")


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("cls", "_"), NAMED)
def test_weights_and_normalisation(cls: Any, _: str) -> None:
    model = cls("net18", num_classes=5)
    net = Net(num_classes=5)
    model.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(model(x), net(x))
    assert model.image_size == 32
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    found = model.data_preprocessor({"inputs": [image]})["inputs"][0]
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (MEAN, STD))
    torch.testing.assert_close(found, (image.flip(0) / 255 - mean) / std)
    own = cls("net18", data_preprocessor=dict(type="ImgDataPreprocessor"), image_size=64)
    assert own.image_size == 64 and not own.data_preprocessor._enable_normalize


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("cls", "_"), NAMED)
def test_a_network_of_one_size_is_made_for_the_images(cls: Any, _: str) -> None:
    model = cls("sized", image_size=48, num_classes=2)
    assert model.image_size == model.network.side == 48


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("cls", "package"), NAMED)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model_name": "net19"}, "model_name = 'net19': {} has no such classifier.*mean net18"),
        ({"model_name": 18}, "model_name = 18: must be a string"),
        ({"model_name": "net18", "depth": 3}, "'depth'; all other keys of model .depth. go to it"),
        ({"model_name": "net18", "pretrained": True}, "pretrained = True.*load_from"),
    ],
)
def test_what_cannot_be_made(cls: Any, package: str, arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words.format(package)):
        cls(**arguments)


@pytest.mark.usefixtures("packages")
def test_weights_of_timm(tmp_path: Path) -> None:
    model = QuantClassifier("mmptq.TimmClassifier", model_name="net18.best", num_classes=3)
    load_float_checkpoint(model, "timm://net18.best")
    assert float(model.model.network.fc.bias.min()) == 7
    with pytest.raises(CheckpointError, match="timm://net19"):
        load_float_checkpoint(model, "timm://net19")


@pytest.mark.parametrize(("cls", "package"), NAMED)
def test_real_ones(cls: Any, package: str) -> None:
    pytest.importorskip(package, exc_type=Exception, reason=f"{package} is not installed")
    model = cls("resnet18", num_classes=3).eval()
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 3)
    wanted = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 255
    torch.testing.assert_close(model.data_preprocessor.mean, wanted)
    name = "vit_tiny_patch16_224" if package == "timm" else "vit_b_32"
    vit = cls(name, image_size=64, num_classes=3).eval()
    assert vit.image_size == 64 and vit(torch.randn(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(ConfigError, match="has no such classifier; did you mean .*resnet18"):
        cls("resnet_18")
