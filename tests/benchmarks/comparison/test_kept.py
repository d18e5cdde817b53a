"""benchmarks/comparison/kept.py: what a cell found, and its metric on drawn images."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmptq.errors import MmptqError

HITS = [1, 0, 1, 1, 0, 1, 1, 1]


@pytest.fixture
def kept():
    from comparison import kept

    return kept


@pytest.fixture
def hits(tmp_path):
    file = tmp_path / "hits.json"
    file.write_text(json.dumps(HITS))
    return file


def test_draws_of_a_classifier_are_the_means_over_the_drawn_images(kept, hits, tmp_path):
    kept.keep_draws(tmp_path, hits, None, 75.0)
    images = np.random.default_rng(0).integers(8, size=(1000, 8))
    wanted = 100 * np.array(HITS)[images].mean(axis=1)
    assert np.allclose(kept.read_draws(tmp_path), wanted, atol=1e-4)


def test_what_does_not_give_the_metric_is_refused(kept, hits, tmp_path):
    with pytest.raises(MmptqError, match=r"gives 75\.00, the evaluator 74\.00"):
        kept.keep_draws(tmp_path, hits, None, 74.0)
    assert kept.read_draws(tmp_path) is None


@pytest.mark.parametrize("written", [True, False])
def test_a_detector_that_finds_nothing_has_zero_on_every_draw(kept, tmp_path, written):
    truth = tmp_path / "truth.json"
    box = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0}
    content = {"images": [{"id": 7}, {"id": 8}], "annotations": [box], "categories": [{"id": 1}]}
    truth.write_text(json.dumps(content))
    found = tmp_path / "found.bbox.json"
    if written:
        found.write_text("[]")
    kept.keep_draws(tmp_path, found, str(truth), 0.0)
    assert not kept.read_draws(tmp_path).any()


def test_hits_are_those_of_the_highest_score_the_first_of_equal_ones(kept, tmp_path):
    def sample(scores, label):
        return SimpleNamespace(pred_score=torch.tensor(scores), gt_label=torch.tensor([label]))

    hook = kept.KeepHits(tmp_path)
    for _ in range(2):  # of two evaluations the second counts
        hook.before_test_epoch(None)
        hook.after_test_iter(None, 0, None, [sample([0.1, 0.9], 1), sample([0.5, 0.5], 1)])
        hook.after_test_iter(None, 1, None, [sample([0.5, 0.5], 0)])
        hook.after_test_epoch(None)
    assert json.loads((tmp_path / "hits.json").read_text()) == [1, 0, 1]
