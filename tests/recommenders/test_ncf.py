"""GMF, MLP and NeuMF against the formulas of the paper, written out with matrices."""

import pytest
import torch
from torch import Tensor, nn

from mmptq.errors import ConfigError
from mmptq.recommenders import GMF, MLP, NeuMF

USERS, ITEMS = torch.tensor([[0, 3], [2, 2]]), torch.tensor([[4, 0], [1, 4]])
SIZES = dict(num_users=4, num_items=5)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def randomised(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model.eval()


def rows(branch: nn.Module) -> tuple[Tensor, Tensor]:
    return branch.user.weight[USERS], branch.item.weight[ITEMS]


def gmf_vector(branch: nn.Module) -> Tensor:
    user, item = rows(branch)
    return user * item


def mlp_vector(branch: nn.Module) -> Tensor:
    x = torch.cat(rows(branch), dim=-1)
    for layer in (m for m in branch.layers if isinstance(m, nn.Linear)):
        x = (x @ layer.weight.T + layer.bias).clamp(min=0)
    return x


def predicted(model: nn.Module, vector: Tensor) -> Tensor:
    return (vector @ model.predict_layer.weight.T + model.predict_layer.bias)[..., 0]


@torch.no_grad()
def test_gmf() -> None:
    model = randomised(GMF(**SIZES, gmf_dims=3))
    found = model.logits(USERS, ITEMS)
    torch.testing.assert_close(found, predicted(model, gmf_vector(model.gmf)))
    assert found.shape == USERS.shape


@torch.no_grad()
def test_mlp() -> None:
    model = randomised(MLP(**SIZES, mlp_widths=(6, 5, 2)))
    torch.testing.assert_close(model.logits(USERS, ITEMS), predicted(model, mlp_vector(model.mlp)))
    assert model.mlp.user.weight.shape == (4, 3)


@torch.no_grad()
def test_neumf() -> None:
    model = randomised(NeuMF(**SIZES, gmf_dims=3, mlp_widths=(6, 5, 2)))
    vector = torch.cat((gmf_vector(model.gmf), mlp_vector(model.mlp)), dim=-1)
    torch.testing.assert_close(model.logits(USERS, ITEMS), predicted(model, vector))


def test_sizes_of_the_public_networks() -> None:
    """40 numbers a user and an item, and 2 833 of the layers (He et al. 2017, 8 factors)."""
    model = NeuMF(num_users=10, num_items=20)
    layers = 64 * 32 + 32 + 32 * 16 + 16 + 16 * 8 + 8 + 16 + 1
    assert sum(p.numel() for p in model.parameters()) == 40 * 30 + layers


def test_embeddings_begin_small() -> None:
    weight = NeuMF(num_users=500, num_items=500).gmf.user.weight
    assert float(weight.std()) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("widths", [(8,), (7, 4), "84", (8, 0), (8, 4.0)])
def test_widths_that_cannot_be(widths) -> None:
    with pytest.raises(ConfigError, match=r"model\.mlp_widths"):
        MLP(**SIZES, mlp_widths=widths)


def test_dims_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"model\.gmf_dims = 0: must be"):
        GMF(**SIZES, gmf_dims=0)
