"""A detector's raw outputs taken from elsewhere, and everything else its own."""

import copy

import pytest
import torch

from benchmarks.peers.raw_heads import RawHeads
from mmptq.adapters.blank import blank_sample
from mmptq.errors import ConfigError


def predict(detector, image):
    sample = blank_sample(image, {})
    with torch.no_grad():
        return detector.predict(image, [sample])[0].pred_instances


def test_the_same_outputs_give_the_same_detections(make_detector, image):
    detector = make_detector("retinanet")
    heads, other = RawHeads(detector), RawHeads(copy.deepcopy(detector))
    expected = predict(detector, image)
    assert len(expected) > 0
    with heads.computed_by(other, {"image": image}):
        for parameter in detector.parameters():
            parameter.data.zero_()  # none of its own layers takes part
        found = predict(detector, image)
    assert torch.equal(found.bboxes, expected.bboxes)
    assert torch.equal(found.scores, expected.scores)


def test_other_outputs_give_other_detections_until_it_ends(make_detector, image):
    detector = make_detector("retinanet")
    heads, other = RawHeads(detector), RawHeads(copy.deepcopy(detector))
    expected = predict(detector, image)
    with heads.computed_by(lambda image: [v - 100 for v in other(image)], {"image": image}):
        assert len(predict(detector, image)) == 0
    assert torch.equal(predict(detector, image).scores, expected.scores)


def test_outputs_are_flat_and_in_the_heads_order(make_detector, image):
    detector = make_detector("retinanet")
    classes, boxes = detector.bbox_head(detector.extract_feat(image))
    found = RawHeads(detector)(image)
    assert all(torch.equal(a, b) for a, b in zip(found, [*classes, *boxes], strict=True))


def test_two_stages_are_refused(make_detector):
    with pytest.raises(ConfigError, match=r"model.type = FasterRCNN: only single-stage"):
        RawHeads(make_detector("faster_rcnn"))
