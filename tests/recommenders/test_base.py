"""A recommender's three modes, against values computed by hand and by torch."""

import math

import pytest
import torch
from torch import Tensor

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.recommenders import PairPreprocessor, Recommender
from mmptq.structures import PairsSample


class Sum(Recommender):
    """The logit of a pair is a multiple of the sum of its numbers."""

    def __init__(self, num_users: int = 5) -> None:
        super().__init__(num_users, num_items=7)
        self.factor = torch.nn.Parameter(torch.tensor(0.5))

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        return self.factor * (users + items)


def sample(*labels: float) -> PairsSample:
    found = PairsSample(metainfo=dict(img_path="list: user 3"))
    found.set_field(torch.tensor(labels), "gt_labels", field_type="data")
    return found


PAIRS = torch.tensor([[[0, 0], [1, 3]], [[2, 0], [4, 6]]])  # two samples of two pairs


def test_logits() -> None:
    assert torch.equal(Sum()(PAIRS), torch.tensor([[0.0, 2.0], [1.0, 5.0]]))


def test_loss_is_the_mean_cross_entropy() -> None:
    loss = Sum()(PAIRS, [sample(1, 0), sample(0, 1)], mode="loss")["loss"]
    terms = [
        math.log(2),
        math.log1p(math.exp(2)),
        math.log1p(math.exp(1)),
        math.log1p(math.exp(-5)),
    ]
    assert loss.item() == pytest.approx(sum(terms) / 4, rel=1e-6)


def test_predictions_are_added_to_the_samples() -> None:
    given = [sample(1, 0), sample(0, 1)]
    found = Sum()(PAIRS, given, mode="predict")
    assert all(a is b for a, b in zip(found, given, strict=True))
    assert torch.equal(found[1].pred_scores, torch.tensor([1.0, 5.0]))
    assert torch.equal(Sum()(PAIRS, mode="predict")[0].pred_scores, torch.tensor([0.0, 2.0]))


def test_without_labels_there_is_no_loss() -> None:
    with pytest.raises(CalibrationDataError, match=r"list: user 3 has no gt_labels; mmptq\.Rated"):
        Sum()(PAIRS, [PairsSample(metainfo=dict(img_path="list: user 3"))], mode="loss")


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="mode = 'losses'"):
        Sum()(PAIRS, mode="losses")


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "9"])
def test_sizes_are_whole_numbers(value) -> None:
    with pytest.raises(ConfigError, match=r"model\.num_users = .*: must be a whole number from 1"):
        Sum(num_users=value)


def test_batches_are_stacked() -> None:
    preprocess = PairPreprocessor()
    batch = {"inputs": [PAIRS[0], PAIRS[1]], "data_samples": [sample(1, 0), sample(0, 1)]}
    found = preprocess(batch)
    assert torch.equal(found["inputs"], PAIRS) and found["inputs"].dtype == torch.int64
    assert torch.equal(preprocess({"inputs": PAIRS})["inputs"], PAIRS)


def test_samples_of_different_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="samples of 1 and of 2 pairs; let num_negatives"):
        PairPreprocessor()({"inputs": [PAIRS[0], PAIRS[1][:1]]})
