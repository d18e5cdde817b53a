"""mAP on resampled images against pycocotools on a data set that holds the images as often."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmptq.errors import ConfigError
from mmptq.evaluation.bootstrap import ResampledMap, bootstrap, load_truth
from tests.coco_support import NUM_IMAGES, random_set, write


def by_pycocotools(annotations, predictions):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluator = COCOeval(truth, truth.loadRes(str(predictions)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[0]


def with_images(images, boxes, detections):
    """The same data set with image ``images[i]`` as image ``i``."""
    found = [
        [
            {**entry, "image_id": new}
            for new, old in enumerate(images)
            for entry in entries
            if entry["image_id"] == old
        ]
        for entries in (boxes, detections)
    ]
    for number, box in enumerate(found[0]):
        box["id"] = number + 1
    return found


@pytest.mark.parametrize("seed", range(3))
def test_all_images_give_pycocotools_map(tmp_path, seed):
    files = write(tmp_path, *random_set(seed))
    model = ResampledMap(load_truth(files[0]), files[1])
    assert model.num_images == NUM_IMAGES
    assert model(range(NUM_IMAGES)) == pytest.approx(by_pycocotools(*files), abs=1e-12)


@pytest.mark.parametrize("images", [[0, 0, 1, 3, 3], [4, 4, 4, 4, 4], [2, 0, 1, 1, 0]])
def test_repeated_images_count_as_often(tmp_path, images):
    boxes, detections = random_set()
    files = write(tmp_path, boxes, detections)
    model = ResampledMap(load_truth(files[0]), files[1])
    ours = model(images)
    repeated = tmp_path / "repeated"
    repeated.mkdir()
    expected = by_pycocotools(*write(repeated, *with_images(images, boxes, detections)))
    assert ours == pytest.approx(expected, abs=1e-12)
    assert model(range(NUM_IMAGES)) == pytest.approx(by_pycocotools(*files), abs=1e-12)


def test_draws_are_paired_and_repeatable(tmp_path):
    boxes, detections = random_set()
    files = write(tmp_path, boxes, detections)
    perfect = [{key: box[key] for key in ("image_id", "category_id", "bbox")} for box in boxes]
    best = write(tmp_path, boxes, [{**box, "score": 0.9} for box in perfect], name="best")[1]
    truth = load_truth(files[0])
    models = [ResampledMap(truth, path) for path in (files[1], files[1], best)]
    drawn = bootstrap(models, 20, seed=3)
    assert drawn.shape == (20, 3)
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert drawn[:, 0].std() > 0
    np.testing.assert_allclose(drawn[:, 2], 1.0)
    assert np.array_equal(drawn, bootstrap(models, 20, seed=3))
    assert not np.array_equal(drawn, bootstrap(models, 20, seed=4))


def test_images_without_objects_give_nan(tmp_path):
    boxes, detections = random_set()
    boxes = [box for box in boxes if box["image_id"] != 0]
    files = write(tmp_path, boxes, detections)
    assert np.isnan(ResampledMap(load_truth(files[0]), files[1])([0] * NUM_IMAGES))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("no json", "is not JSON"),
        ("[]", "no detections"),
        ('{"images": []}', "no detections"),
        ('[{"image_id": 0}]', "outfile_prefix"),
    ],
)
def test_bad_predictions_are_named(tmp_path, content, message):
    annotations, path = write(tmp_path, *random_set())
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        ResampledMap(load_truth(annotations), path)
    assert str(path) in str(error.value)


def test_predictions_of_another_set_are_refused(tmp_path):
    boxes, detections = random_set()
    annotations, path = write(tmp_path, boxes, [{**detections[0], "image_id": 77}])
    with pytest.raises(ConfigError, match="image_id 77"):
        ResampledMap(load_truth(annotations), path)


@pytest.mark.parametrize("content", ["[]", '{"images": [], "annotations": []}'])
def test_annotations_without_objects_are_refused(tmp_path, content):
    (tmp_path / "val.json").write_text(content)
    with pytest.raises(ConfigError, match="no COCO annotations"):
        load_truth(tmp_path / "val.json")
