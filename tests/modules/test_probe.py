"""What layers are seen to compute, against layers that were written to compute just that."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from mmdet.models.layers.se_layer import SELayer
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from mmptq.modules import class_name, quantized_class, to_quantized
from mmptq.modules.probe import multiplies_by_own_weight, with_constant_weight
from mmptq.quantizers import UniformQuantizer


class Silent(nn.Conv2d):
    """Overrides nothing."""


class PaddedByHand(nn.Conv2d):
    """As timm's and the Lite variants': to whole strides, without F.pad."""

    def forward(self, x: Tensor) -> Tensor:
        right, bottom = (-x.shape[-1] % 2) + 1, (-x.shape[-2] % 2) + 1
        framed = x.new_zeros(*x.shape[:2], x.shape[2] + bottom, x.shape[3] + right)
        framed[..., : x.shape[2], : x.shape[3]] = x
        return F.conv2d(framed, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Replicated(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(F.pad(x, (1, 1, 2, 0), "replicate"), self.weight, self.bias)


class Upsampling(nn.ConvTranspose2d):
    pass


class Named(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


OWN: dict[str, Callable[[], nn.Module]] = {
    "overrides_nothing": lambda: Silent(4, 6, 3),
    "adaptive": lambda: Conv2dAdaptivePadding(4, 6, 3, stride=2),
    "adaptive_depthwise": lambda: Conv2dAdaptivePadding(4, 4, 5, stride=2, groups=4, bias=False),
    "by_hand": lambda: PaddedByHand(4, 6, 3, stride=2),
    "replicated": lambda: Replicated(4, 6, 3),
    "transposed": lambda: Upsampling(4, 6, 2, stride=2),
    "linear": lambda: Named(4, 6),
}


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class DoubledInput(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 2)


class PaddedWithOnes(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 1, 1, 1), value=1.0))


class Twice(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + super().forward(x)


class DropsBias(nn.Conv2d):
    """A norm that is folded into it would lose its shift."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, None, self.stride, self.padding)


class Dynamic(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * x.mean(), self.bias)


class Matmul(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.t() + self.bias


class Guided(nn.Conv2d):
    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return super().forward(x * guide)


OTHER: dict[str, Callable[[], nn.Module]] = {
    "output": lambda: Doubled(4, 4, 3),
    "input": lambda: DoubledInput(4, 4, 3),
    "ones": lambda: PaddedWithOnes(4, 4, 3),
    "twice": lambda: Twice(4, 4, 3),
    "bias": lambda: DropsBias(4, 4, 3, bias=False),
    "dynamic": lambda: Dynamic(4, 4, 3),
    "matmul": lambda: Matmul(4, 4),
    "guided": lambda: Guided(4, 4, 3),
    "norm": lambda: nn.BatchNorm2d(4),
    "no_layer": lambda: SELayer(4, ratio=2),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def random_input(layer: Any, size: int = 9) -> Tensor:
    return torch.randn(2, 4) if isinstance(layer, nn.Linear) else torch.randn(2, 4, size, size)


@pytest.mark.parametrize("name", OWN)
def test_layers_that_multiply_by_their_own_weight(name: str) -> None:
    layer = OWN[name]()
    state = copy.deepcopy(layer.state_dict())
    random = torch.get_rng_state()
    assert multiplies_by_own_weight(layer) and with_constant_weight(layer) is None
    # Nothing is left behind.
    assert torch.equal(torch.get_rng_state(), random) and layer.training
    assert all(torch.equal(state[k], v) for k, v in layer.state_dict().items())


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("size", [8, 9])
def test_their_quantized_form_keeps_their_forward(name: str, size: int) -> None:
    layer = OWN[name]().eval()
    quantized, x = to_quantized(layer), random_input(layer, size)
    assert quantized_class(layer) is type(quantized) is type(to_quantized(OWN[name]()))
    assert isinstance(quantized, type(layer)) and torch.equal(quantized(x), layer(x))
    axis = quantized.ch_axis
    channels = layer.weight.shape[axis]
    quantized.weight_quantizer = UniformQuantizer(3, ch_axis=axis, num_channels=channels)
    quantized.weight_quantizer.set_range(-torch.full((channels,), 0.875), torch.ones(channels) / 2)
    reader = UniformQuantizer(4, symmetric=False)
    reader.set_range(torch.tensor(-1.25), torch.tensor(2.5))
    quantized.bind_inputs([reader])
    scale, zero = torch.full((channels,), 0.25), torch.zeros(channels, dtype=torch.int32)
    layer.weight.data = torch.fake_quantize_per_channel_affine(
        layer.weight.data, scale, zero, axis, -4, 3
    )
    expected = layer(torch.fake_quantize_per_tensor_affine(x, 0.25, 5, 0, 15))
    torch.testing.assert_close(quantized(x), expected, rtol=1e-5, atol=1e-5)
    quantized(x).sum().backward()
    assert quantized.weight.grad is not None and bool(quantized.weight.grad.any())
    assert "weight" not in vars(quantized)


def test_an_error_leaves_the_parameter_in_its_place() -> None:
    layer = to_quantized(Conv2dAdaptivePadding(4, 6, 3))
    with pytest.raises(RuntimeError):
        layer(torch.randn(1, 3, 5, 5))
    assert "weight" not in vars(layer) and isinstance(layer.weight, nn.Parameter)


@pytest.mark.parametrize("name", OTHER)
def test_layers_that_compute_something_else_stay_float(name: str) -> None:
    layer = OTHER[name]()
    assert quantized_class(layer) is None and with_constant_weight(layer) is None


CONSTANT: dict[str, tuple[Callable[[], nn.Module], type[nn.Module], str]] = {
    "ws": (lambda: ConvWS2d(4, 6, 3, stride=2, padding=1), nn.Conv2d, "ConvWS2d"),
    "aws": (lambda: ConvAWS2d(4, 6, 3, bias=False), nn.Conv2d, "ConvAWS2d"),
    "weight_norm": (lambda: weight_norm(nn.Conv2d(4, 6, 3)), nn.Conv2d, "Conv2d"),
    "spectral_norm": (lambda: spectral_norm(nn.Linear(4, 6)), nn.Linear, "Linear"),
    "new_weight_norm": (
        lambda: parametrizations.weight_norm(nn.ConvTranspose2d(4, 6, 3)),
        nn.ConvTranspose2d,
        "ParametrizedConvTranspose2d",
    ),
    "new_spectral_norm": (
        lambda: parametrizations.spectral_norm(nn.Linear(4, 6)),
        nn.Linear,
        "ParametrizedLinear",
    ),
    "pruned": (
        lambda: prune.l1_unstructured(nn.Conv2d(4, 6, 3), "weight", 0.5),
        nn.Conv2d,
        "Conv2d",
    ),
    "padded": (
        lambda: weight_norm(Conv2dAdaptivePadding(4, 6, 3, stride=2)),
        Conv2dAdaptivePadding,
        "Conv2dAdaptivePadding",
    ),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize("mode", ["trained", "training", "frozen"])
@pytest.mark.parametrize("name", CONSTANT)
def test_a_weight_that_is_made_of_parameters_becomes_plain(name: str, mode: str) -> None:
    make, cls, kind = CONSTANT[name]
    layer = make()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(torch.rand_like(parameter) + 0.5)
    layer.requires_grad_(mode != "frozen").train(mode == "training")
    state = copy.deepcopy(layer.state_dict())
    plain = with_constant_weight(layer)
    assert plain is not None and type(plain) is cls and class_name(plain) == kind
    assert all(torch.equal(state[k], v) for k, v in layer.state_dict().items())
    assert layer.training is plain.training is (mode == "training")
    names = {"weight"} | ({"bias"} if layer.bias is not None else set())
    assert set(plain.state_dict()) == names == set(dict(plain.named_parameters()))
    assert plain.weight.requires_grad is (mode != "frozen")
    assert quantized_class(plain) is not None and with_constant_weight(plain) is None
    x = random_input(layer)
    assert torch.equal(plain(x), layer.eval()(x))


def test_weights_that_are_not_initialised() -> None:
    """As when a model is built only to load a quantized checkpoint."""
    layer = ConvWS2d(4, 6, 3)
    nn.init.constant_(layer.weight, float("nan"))
    assert isinstance(with_constant_weight(layer), nn.Conv2d)
    silent = Silent(4, 6, 3)
    nn.init.constant_(silent.weight, float("nan"))
    assert multiplies_by_own_weight(silent)
