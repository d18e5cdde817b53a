import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from sklearn.metrics import top_k_accuracy_score

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.evaluation import TopKAccuracy
from mmptq.structures import ClassSample


def samples(scores: np.ndarray, labels: np.ndarray) -> list[ClassSample]:
    found = [ClassSample() for _ in labels]
    for sample, score, label in zip(found, torch.from_numpy(scores), labels, strict=True):
        sample.set_field(score, "pred_score", field_type="data")
        sample.set_field(torch.tensor([label]), "gt_label", field_type="data")
    return found


def measure(metric: TopKAccuracy, found: list[ClassSample]) -> dict[str, float]:
    evaluator = Evaluator(metric)
    for start in range(0, len(found), 16):
        evaluator.process(found[start : start + 16])
    return evaluator.evaluate(len(found))


def test_against_sklearn() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random((200, 7)), rng.integers(0, 7, 200)
    found = measure(TopKAccuracy(topk=(1, 3, 5)), samples(scores, labels))
    for k in (1, 3, 5):
        wanted = 100 * top_k_accuracy_score(labels, scores, k=k, labels=range(7))
        assert found[f"accuracy/top{k}"] == pytest.approx(wanted)


def test_of_equal_scores_the_first_wins() -> None:
    scores = np.zeros((3, 4))
    assert measure(TopKAccuracy((1, 2)), samples(scores, np.array([0, 1, 2]))) == {
        "accuracy/top1": pytest.approx(100 / 3),
        "accuracy/top2": pytest.approx(200 / 3),
    }


def test_more_than_there_are_classes_is_left_out() -> None:
    found = measure(TopKAccuracy(), samples(np.eye(3), np.arange(3)))
    assert found == {"accuracy/top1": 100.0}


@pytest.mark.parametrize("topk", [(), (0, 1), (1, 2.5)])
def test_topk_that_cannot_work(topk: tuple) -> None:
    with pytest.raises(ConfigError, match="test_evaluator.topk"):
        TopKAccuracy(topk)


def test_labels_beyond_the_models_classes() -> None:
    with pytest.raises(CalibrationDataError, match="a label 5, the model 3 classes"):
        measure(TopKAccuracy(), samples(np.zeros((1, 3)), np.array([5])))
