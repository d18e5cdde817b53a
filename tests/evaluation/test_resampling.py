"""mAP of every draw against pycocotools on the same matches, bit for bit."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from mmptq.evaluation.bootstrap import ResampledMap, bootstrap, load_truth
from tests.coco_support import random_set, write


def accumulated(evaluator, images):
    """mAP of one draw by ``COCOeval.accumulate``, of the matches of all images."""
    count = len(evaluator.params.imgIds)
    kept = evaluator.evalImgs
    evaluator.evalImgs = [kept[at + i] for at in range(0, len(kept), count) for i in images]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
    evaluator.evalImgs = kept
    precision = evaluator.eval["precision"]
    found = precision[precision > -1]
    return found.mean() if found.size else float("nan")


def with_ties_and_crowds(seed, num_images):
    """As :func:`random_set`, with three scores in all, some crowds, and an image without boxes."""
    boxes, detections = random_set(seed, num_images)
    boxes = [box for box in boxes if box["image_id"] != 1]
    for box in boxes[::7]:
        box["iscrowd"] = 1
    for detection in detections:
        detection["score"] = round(detection["score"] * 2) / 2
    return boxes, detections


@pytest.mark.parametrize("make", [random_set, with_ties_and_crowds])
@pytest.mark.parametrize("seed", range(4))
def test_every_draw_is_pycocotools_to_the_last_bit(tmp_path, make, seed, monkeypatch):
    monkeypatch.setattr("mmptq.evaluation.bootstrap._BLOCK", 2**16)  # a few blocks
    files = write(tmp_path, *make(seed, 12), num_images=12)
    truth = load_truth(files[0])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(truth, truth.loadRes(str(files[1])), "bbox")
        evaluator.params.areaRng = evaluator.params.areaRng[:1]
        evaluator.params.maxDets = [100]
        evaluator.evaluate()
    drawn = bootstrap([ResampledMap(truth, files[1])], 100, seed=seed)[:, 0]
    images = np.random.default_rng(seed).integers(12, size=(100, 12))
    expected = [accumulated(evaluator, draw) for draw in images]
    assert np.std(expected) > 0
    assert np.array_equal(drawn, expected)
