"""HR@k and NDCG@k against values computed by hand and by scikit-learn."""

import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from sklearn.metrics import ndcg_score

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.evaluation import HitRate
from mmptq.structures import PairsSample


def sample(scores: list[float], chosen: int = 0) -> PairsSample:
    found = PairsSample(metainfo=dict(img_path="list: user 7"))
    labels = torch.zeros(len(scores))
    labels[chosen] = 1.0
    found.set_field(torch.tensor(scores), "pred_scores", field_type="data")
    found.set_field(labels, "gt_labels", field_type="data")
    return found


def measure(k: int, found: list[PairsSample]) -> dict[str, float]:
    evaluator = Evaluator(HitRate(k))
    for start in range(0, len(found), 2):
        evaluator.process(found[start : start + 2])
    return evaluator.evaluate(len(found))


def test_by_hand() -> None:
    users = [
        sample([3.0, 1.0, 2.0, 0.0]),  # first
        sample([1.0, 3.0, 2.0, 0.0]),  # third
        sample([5.0, 4.0, 4.5, 0.0], chosen=2),  # second
        sample([-1.0, 0.0, 0.0, 0.0]),  # last
    ]
    assert measure(2, users) == {
        "ranking/HR@2": 50.0,
        "ranking/NDCG@2": pytest.approx(100 * (1 + 1 / math.log2(3)) / 4),
    }
    assert measure(3, users)["ranking/NDCG@3"] == pytest.approx(
        100 * (1 + 1 / math.log2(3) + 1 / 2) / 4
    )


def test_against_sklearn() -> None:
    rng = np.random.default_rng(0)
    scores, chosen = rng.random((60, 25)), rng.integers(0, 25, 60)
    truth = np.eye(25)[chosen]
    found = measure(10, [sample(s.tolist(), int(c)) for s, c in zip(scores, chosen, strict=True)])
    assert found["ranking/NDCG@10"] == pytest.approx(
        100 * ndcg_score(truth, scores, k=10), rel=1e-6
    )


@pytest.mark.parametrize("scores", [[0.0] * 12, [math.nan] * 12, [1.0] + [math.nan] * 11])
def test_who_cannot_tell_items_apart_hits_nothing(scores: list[float]) -> None:
    assert measure(10, [sample(scores)]) == {"ranking/HR@10": 0.0, "ranking/NDCG@10": 0.0}


def test_so_few_items_all_hit() -> None:
    with pytest.raises(CalibrationDataError, match=r"list: user 7 has 1 chosen of 5 items; HR@10"):
        measure(10, [sample([0.0] * 5)])


def test_several_chosen_items() -> None:
    both = sample([0.0] * 12)
    both.gt_labels[3] = 1.0
    with pytest.raises(CalibrationDataError, match="2 chosen of 12 items"):
        measure(10, [both])


@pytest.mark.parametrize("k", [0, 1.5, True])
def test_k_that_cannot_be(k) -> None:
    with pytest.raises(ConfigError, match=r"test_evaluator\.k"):
        HitRate(k)
