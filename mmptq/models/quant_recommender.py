"""The quantized recommender as MMEngine sees it."""

from typing import Any

from torch import nn

from mmptq.models.quant_model import QuantModel, build_float_model
from mmptq.modules import EmbeddingTable, replace_module
from mmptq.modules.sharing import share
from mmptq.registry import MODELS


@MODELS.register_module()
class QuantRecommender(QuantModel):
    """A recommender that can be quantized, its embeddings included.

    .. code-block:: python

        model = dict(type='mmptq.QuantRecommender', recommender_type='mmptq.NeuMF',
                     num_users=6040, num_items=3706)

    Args:
        recommender_type: Registered class of the float recommender, one of ``mmptq.recommenders``
            or your own subclass of ``Recommender``.
        recommender_cfg: The recommender's own arguments.
    """

    def __init__(self, recommender_type: str, **recommender_cfg: Any) -> None:
        model = build_float_model({"type": recommender_type, **recommender_cfg})
        super().__init__(name="recommender", model=with_tables(model))


def with_tables(model: nn.Module) -> nn.Module:
    """``model`` with every ``nn.Embedding`` as a table that can be quantized.

    One with ``max_norm`` stays, since it writes to its weight whenever it is looked up.
    """
    for module in list(model.modules()):
        if type(module) is nn.Embedding and module.max_norm is None:
            replace_module(model, module, share(EmbeddingTable, module))
    return model
