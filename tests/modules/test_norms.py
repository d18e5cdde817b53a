import pytest
import torch
from torch import Tensor, nn

from mmptq.modules import behind_norm


class NormAct(nn.BatchNorm2d):
    """As timm's ``BatchNormAct2d``: the activation is inside."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


class NormGate(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


class AnyShape(nn.modules.batchnorm._BatchNorm):
    def _check_input_dim(self, input: Tensor) -> None:
        """Takes all."""


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.SyncBatchNorm(3), AnyShape(3)]
)
def test_nothing_stays_of_a_plain_one(norm: nn.Module) -> None:
    assert type(behind_norm(norm)) is nn.Identity  # type: ignore[arg-type]


def test_the_activation_stays() -> None:
    norm = NormAct(3)
    state = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    rest = behind_norm(norm)
    assert isinstance(rest, nn.Sequential) and list(rest) == [norm.drop, norm.act]
    assert norm.training
    assert all(torch.equal(norm.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize("norm", [NormGate(3), nn.BatchNorm2d(3, track_running_stats=False)])
def test_anything_else_is_not_folded(norm: nn.Module) -> None:
    assert behind_norm(norm) is None  # type: ignore[arg-type]


def test_timms_own() -> None:
    layers = pytest.importorskip("timm.layers", exc_type=Exception, reason="timm is not installed")
    norm = layers.BatchNormAct2d(3)
    assert list(behind_norm(norm)) == [norm.drop, norm.act]
