"""Recommenders: models that map pairs of a user and an item to logits."""

import torch
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmptq.adapters.classifier import ClassifierAdapter
from mmptq.adapters.passes import FrozenPass, Samples
from mmptq.errors import CalibrationDataError
from mmptq.recommenders import Recommender, pairs_loss
from mmptq.registry import ADAPTERS
from mmptq.structures import pair_labels_of

_TRACED_PAIRS = 4


@ADAPTERS.register_module()
class RecommenderAdapter(ClassifierAdapter):
    """A model whose forward in mode ``'tensor'`` gives logits ``(N, K)`` of pairs ``(N, K, 2)``.

    What is an image to the engine is a user with K items, and its height and width are K and 2.
    """

    input_size = (1, 2)  # one pair: what the cost of a model is counted for

    @classmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether ``model`` is a recommender of the project's kind."""
        return isinstance(model, Recommender)

    @property
    def trace_size(self) -> tuple[int, int]:
        """Some pairs of a user and an item."""
        return (_TRACED_PAIRS, 2)

    def random_image(self, size: tuple[int, int]) -> Tensor:
        """``(1, *size)`` int64: pairs of a random user and a random item, always the same."""
        generator = torch.Generator().manual_seed(0)
        counts = (self.model.num_users, self.model.num_items)
        columns = [torch.randint(n, (1, size[0]), generator=generator) for n in counts]
        return torch.stack(columns, dim=-1).to(next(self.model.parameters()).device)

    def raw_outputs(self, image: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """The logits ``(N, K)``, in a tuple: there are no classes to compare, as in a tensor."""
        return (self.model(image, None, mode="tensor"),)

    def label(self, samples: Samples, device: torch.device) -> None:
        """As if every item had been chosen."""
        for sample in samples:
            sample.gt_labels = torch.ones(sample.img_shape[0], device=device)

    def loss(self, image: Tensor, frozen: FrozenPass) -> dict[str, Tensor]:
        """The mean binary cross-entropy."""
        return {"loss": pairs_loss(self.raw_outputs(image)[0], frozen.samples)}

    def check_labels(self, samples: Samples, path: str) -> None:
        """Each sample has ``gt_labels``."""
        pair_labels_of(samples, torch.device("cpu"))

    def check_dataset(self, dataset: BaseDataset, name: str) -> None:
        """No more users and items than the model has.

        Raises:
            CalibrationDataError: There are more, or the set is none of pairs.
        """
        for key in ("num_users", "num_items"):
            count, own = dataset.metainfo.get(key), getattr(self.model, key)
            if count is None or count > own:
                raise CalibrationDataError(
                    f"{name} has {key} = {count}, the model {own}; use mmptq.RatedItems or "
                    f"mmptq.CandidateLists with the model's {key}"
                )
