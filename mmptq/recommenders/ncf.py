"""Neural collaborative filtering (He et al. 2017): GMF, MLP, and both as NeuMF."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.errors import ConfigError
from mmptq.modules import Operand
from mmptq.recommenders.base import Recommender, whole
from mmptq.registry import MODELS


class ElementProduct(nn.Module):
    """The product of two activations, element by element, with operands that can be quantized.

    Each side has a quantizer of its own, as in the matrix products of attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Operand(), Operand()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``a * b``."""
        return self.left(a) * self.right(b)


class GMFBranch(nn.Module):
    """Embeddings of user and item, multiplied element by element (section 3.2).

    Args:
        num_users: Rows of the users' table.
        num_items: Rows of the items' table.
        dims: Columns of both, and of the output.
    """

    def __init__(self, num_users: int, num_items: int, dims: int) -> None:
        super().__init__()
        self.user = nn.Embedding(num_users, dims)
        self.item = nn.Embedding(num_items, dims)
        self.product = ElementProduct()

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """``(..., dims)`` of whole numbers ``(...)``."""
        return self.product(self.user(users), self.item(items))


class MLPBranch(nn.Module):
    """Embeddings of user and item, one behind the other, and a perceptron (section 3.3).

    Args:
        num_users: Rows of the users' table.
        num_items: Rows of the items' table.
        widths: Of what each layer reads, and of the output; each table has half of the first.

    Raises:
        ConfigError: Fewer than two widths, one that is no whole number from 1, or an odd first.
    """

    def __init__(self, num_users: int, num_items: int, widths: Sequence[int]) -> None:
        super().__init__()
        listed = isinstance(widths, list | tuple)
        if not listed or len(widths) < 2 or not isinstance(widths[0], int) or widths[0] % 2:
            raise ConfigError(
                f"model.mlp_widths = {widths!r}: must be two or more whole numbers, the first even"
            )
        widths = [whole("model.mlp_widths[...]", width) for width in widths]
        self.user = nn.Embedding(num_users, widths[0] // 2)
        self.item = nn.Embedding(num_items, widths[0] // 2)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """``(..., widths[-1])`` of whole numbers ``(...)``."""
        return self.layers(torch.cat((self.user(users), self.item(items)), dim=-1))


@MODELS.register_module()
class GMF(Recommender):
    """Generalized matrix factorization: one layer on the product of two embeddings.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        gmf_dims: Length of an embedding.
        data_preprocessor: As for MMEngine's ``BaseModel``.

    Raises:
        ConfigError: A size that cannot be.
    """

    def __init__(
        self, num_users: int, num_items: int, gmf_dims: int = 8, data_preprocessor: Any = None
    ) -> None:
        super().__init__(num_users, num_items, data_preprocessor)
        self.gmf = GMFBranch(num_users, num_items, whole("model.gmf_dims", gmf_dims))
        self.predict_layer = nn.Linear(gmf_dims, 1)
        self.apply(_initialise)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits of pairs, of the shape of ``users`` and ``items``."""
        return self.predict_layer(self.gmf(users, items)).squeeze(-1)


@MODELS.register_module()
class MLP(Recommender):
    """A perceptron on the embeddings of user and item, and one layer.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        mlp_widths: Of what each layer of the perceptron reads, and of its output.
        data_preprocessor: As for MMEngine's ``BaseModel``.

    Raises:
        ConfigError: A size that cannot be.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        mlp_widths: Sequence[int] = (64, 32, 16, 8),
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__(num_users, num_items, data_preprocessor)
        self.mlp = MLPBranch(num_users, num_items, mlp_widths)
        self.predict_layer = nn.Linear(mlp_widths[-1], 1)
        self.apply(_initialise)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits of pairs, of the shape of ``users`` and ``items``."""
        return self.predict_layer(self.mlp(users, items)).squeeze(-1)


@MODELS.register_module()
class NeuMF(Recommender):
    """Both branches, each with embeddings of its own, under one layer (section 3.4).

    Args:
        num_users: Number of users.
        num_items: Number of items.
        gmf_dims: Length of an embedding of the GMF branch.
        mlp_widths: As for :class:`MLP`.
        data_preprocessor: As for MMEngine's ``BaseModel``.

    Raises:
        ConfigError: A size that cannot be.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        gmf_dims: int = 8,
        mlp_widths: Sequence[int] = (64, 32, 16, 8),
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__(num_users, num_items, data_preprocessor)
        self.gmf = GMFBranch(num_users, num_items, whole("model.gmf_dims", gmf_dims))
        self.mlp = MLPBranch(num_users, num_items, mlp_widths)
        self.predict_layer = nn.Linear(gmf_dims + mlp_widths[-1], 1)
        self.apply(_initialise)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits of pairs, of the shape of ``users`` and ``items``."""
        both = torch.cat((self.gmf(users, items), self.mlp(users, items)), dim=-1)
        return self.predict_layer(both).squeeze(-1)


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """Small normal embeddings (section 4.1); layers with the variance of what they read."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.01)
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
        nn.init.zeros_(module.bias)
