from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from mmptq.adapters import Adapter
from mmptq.evaluation import nominal_shape, profile_model
from mmptq.evaluation.profile import ProductProfile, layer_macs


class Toy(nn.Module):
    """A convolution that runs twice, a linear layer over rows, and what is not counted."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)
        self.fc = nn.Linear(5, 6)
        self.unused = nn.Linear(2, 2)
        self.table = nn.Embedding(7, 8)

    def forward(self, image):
        x = self.norm(self.conv(image))
        outputs = [self.head(x), self.head(x[..., ::2, ::2])]
        return outputs, self.fc(image.new_ones(9, 5)), self.table(torch.tensor([1]))


class ToyAdapter(Adapter):
    @classmethod
    def handles(cls, model):
        return isinstance(model, Toy)

    def raw_outputs(self, image):
        return self.model(image)


def test_counts_of_a_toy_model_by_hand():
    model = Toy()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    profile = profile_model(ToyAdapter(model), (8, 6))
    layers = {layer.name: layer for layer in profile.layers}
    assert list(layers) == ["conv", "head", "fc", "unused"]
    assert layers["conv"].macs == (8 * 6 * 4 * 3 * 9,)
    assert layers["head"].macs == (8 * 6 * 2 * 4, 4 * 3 * 2 * 4)
    assert layers["fc"].macs == (9 * 5 * 6,)
    assert layers["unused"].macs == ()
    assert (layers["conv"].has_bias, layers["head"].has_bias) == (False, True)
    assert profile.norms == {"norm": 4 * 4 + 1}
    assert profile.numel == 108 + 17 + (8 + 2) + (30 + 6) + (4 + 2) + 56
    # Nothing of the model has changed, the norm's statistics least of all.
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.training and model.norm.training
    assert not any(m._forward_hooks for m in model.modules())


class Odd(nn.Module):
    """Modules with a weight that are no layers, and products of none."""

    class Twice(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + super().forward(x)

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm((8, 6))
        self.up = nn.ConvTranspose2d(3, 6, 2, groups=3, bias=False)
        self.twice = self.Twice(6, 4, 1)
        self.made = weight_norm(nn.Conv2d(4, 2, 1))
        self.idle = self.Twice(2, 2, 1)

    def forward(self, image):
        return self.made(self.twice(self.up(self.norm(image)))) @ image.new_ones(7, 5)


class OddAdapter(ToyAdapter):
    @classmethod
    def handles(cls, model):
        return isinstance(model, Odd)


def test_what_is_no_layer():
    model = Odd()
    profile = profile_model(OddAdapter(model), (8, 6))
    layers = {layer.name: layer for layer in profile.layers}
    assert list(layers) == ["up", "twice", "made", "idle"]
    assert layers["up"].macs == (3 * 8 * 6 * 2 * 4,)
    assert (layers["up"].out_channels, layers["up"].steps) == (6, 3)
    assert layers["twice"].macs == (2 * 9 * 7 * 4 * 6,)
    assert layers["made"].macs == (9 * 7 * 2 * 4,) and layers["made"].numel == 8
    assert layers["idle"].macs == ()
    assert profile.products == (ProductProfile("", "Odd", 2 * 9 * 7 * 5),)
    # Of a norm's weight both factors are stored, and the weight itself when it is quantized.
    assert profile.numel == sum(p.numel() for p in model.parameters())
    assert profile.expanded_numel == profile.numel - 2


def brute_force_macs(layer, x):
    """Multiplications that reach an output, counted by convolving ones with ones, no padding."""
    ones = type(layer)(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        groups=layer.groups,
        bias=False,
    )
    nn.init.ones_(ones.weight)
    return int(ones(torch.ones_like(x)).sum())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, (1, 3), stride=2, groups=2),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
    ],
)
def test_macs_of_convolutions_against_brute_force(layer):
    x = torch.randn(2, 4, 9, 7)
    assert layer_macs(layer, x, layer(x)) == brute_force_macs(layer, x)


def config(pipeline, divisor=32, **dataset):
    return Config(
        dict(
            model=dict(data_preprocessor=dict(pad_size_divisor=divisor)),
            test_dataloader=dict(dataset=dict(pipeline=pipeline, **dataset)),
        )
    )


def test_shape_of_a_coco_config():
    path = Path(mmdet.__file__).parent / ".mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py"
    assert nominal_shape(Config.fromfile(path)) == (800, 1344)


@pytest.mark.parametrize(
    ("transform", "divisor", "shape"),
    [
        (dict(type="mmdet.Resize", scale=(160, 160), keep_ratio=True), 32, (160, 160)),
        (dict(type="Resize", scale=(320, 250), keep_ratio=True), 32, (256, 320)),
        (dict(type="Resize", scale=(301, 201), keep_ratio=False), 1, (201, 301)),
        (dict(type="FixShapeResize", width=100, height=50), 32, (64, 128)),
        (dict(type="Resize", scale_factor=0.5), 32, (800, 1344)),
        (dict(type="LoadAnnotations"), 32, (800, 1344)),
    ],
)
def test_shapes(transform, divisor, shape):
    assert nominal_shape(config([transform], divisor)) == shape


def test_shape_through_dataset_wrappers_and_without_any():
    inner = dict(pipeline=[dict(type="Resize", scale=(64, 32))])
    for wrapper in (dict(dataset=inner), dict(datasets=[inner, inner])):
        cfg = Config(dict(test_dataloader=dict(dataset=dict(type="Wrapper", **wrapper))))
        assert nominal_shape(cfg) == (32, 64)
    assert nominal_shape(Config(dict(test_pipeline=inner["pipeline"]))) == (32, 64)
    assert nominal_shape(Config({})) == (800, 1344)
    assert nominal_shape(Config({}), (50, 60)) == (50, 60)


def test_size_of_a_classification_pipeline() -> None:
    steps = [dict(type="mmptq.ResizeEdge", scale=256), dict(type="CenterCrop", crop_size=224)]
    assert nominal_shape(Config(dict(test_pipeline=steps))) == (224, 224)
    steps[1]["crop_size"] = (96, 64)  # (w, h), as in mmcv
    assert nominal_shape(Config(dict(test_pipeline=steps))) == (64, 96)
