"""Two findings in an image: what is the same, and by how much the rest differs."""

import pytest
import torch
from torch import Tensor

from mmptq.export.detections import Detections, likeness

BOXES = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 70]])
SCORES = torch.tensor([0.9, 0.5, 0.3])
LABELS = torch.tensor([0, 1, 0])


def found(boxes: Tensor = BOXES, scores: Tensor = SCORES, labels: Tensor = LABELS) -> Detections:
    return Detections(boxes, scores, labels)


def test_the_same_in_another_order() -> None:
    order = torch.tensor([2, 0, 1])
    like = likeness(found(), found(BOXES[order], SCORES[order], LABELS[order]))
    assert like.close and like.agreement == 1 and like.score == 0 and like.box == 0


@pytest.mark.parametrize(("score", "box", "close"), [(9e-5, 9e-3, True), (2e-4, 0, False)])
def test_small_differences(score: float, box: float, close: bool) -> None:
    like = likeness(found(), found(BOXES + box, SCORES + score))
    assert like.close is close and like.agreement == 1
    assert like.score == pytest.approx(score, rel=1e-3)
    assert like.box == pytest.approx(box, rel=1e-2)


def test_a_box_too_far() -> None:
    like = likeness(found(), found(BOXES + torch.tensor([0, 0, 0.02, 0])))
    assert not like.close and like.agreement == 1


def test_a_score_too_far_to_agree() -> None:
    like = likeness(found(), found(scores=SCORES - torch.tensor([0, 0.02, 0])))
    assert not like.close and like.agreement == pytest.approx(2 / 3)


def test_other_labels_and_missing_ones() -> None:
    other = found(BOXES[:2], SCORES[:2], torch.tensor([1, 1]))
    like = likeness(found(), other)
    assert not like.close and like.agreement == pytest.approx(1 / 3)


def test_two_in_one_place_have_a_partner_each() -> None:
    boxes, scores = BOXES[[0, 0]], torch.tensor([0.9, 0.2])
    twice = found(boxes, scores, LABELS[[0, 0]])
    turned = found(boxes, scores.flip(0), LABELS[[0, 0]])
    assert likeness(twice, turned).close
    once = found(BOXES[:1], SCORES[:1], LABELS[:1])
    assert likeness(twice, once).agreement == 0.5


def test_boxes_without_area() -> None:
    flat = found(BOXES * torch.tensor([1.0, 0, 1, 0]))
    assert likeness(flat, flat).close


def test_nothing() -> None:
    nothing = found(BOXES[:0], SCORES[:0], LABELS[:0])
    assert likeness(nothing, nothing).close
    like = likeness(found(), nothing)
    assert not like.close and like.agreement == 0
