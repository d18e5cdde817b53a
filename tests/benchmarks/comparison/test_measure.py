"""benchmarks/comparison/measure.py: a real cell."""

import json

import numpy as np
import pytest

from mmptq.evaluation.bootstrap import ResampledMap, load_truth
from mmptq.fileio import cache_folder


def test_a_folder_of_another_recipe_begins_anew_and_of_the_same_goes_on(tmp_path):
    from comparison.columns import find_columns
    from comparison.measure import begin_folder
    from comparison.plan import Cell
    from comparison.specs import find_specs

    (spec,), (column,) = find_specs(["bitshrink:stops=2"]), find_columns(["W8A8"])
    cell, folder = Cell("demo_retinanet", spec, column), tmp_path / "cell"
    begin_folder(cell, folder)
    (folder / "kept").touch()
    begin_folder(cell, folder)
    assert (folder / "kept").exists()
    begin_folder(cell._replace(images=8), folder)
    assert not (folder / "kept").exists()


@pytest.mark.slow
def test_a_cell_of_the_demo_is_a_run_of_the_product(tmp_path, monkeypatch):
    from comparison import models
    from comparison.columns import find_columns
    from comparison.measure import measure
    from comparison.places import Places
    from comparison.plan import Cell
    from comparison.specs import find_specs

    small = models.MODELS["demo_retinanet"]._replace(images=4, held_out=4)
    monkeypatch.setitem(models.MODELS, "demo_retinanet", small)
    (spec,), (column,) = find_specs(["mmse"]), find_columns(["W8A8"])
    cell = Cell("demo_retinanet", spec, column)
    figures = measure(cell, Places(tmp_path), tmp_path)

    assert abs(figures["bbox_mAP"] - 0.614) < 0.01  # float: 61.4
    assert 0 < figures["distance"] < 0.01
    assert figures["distance"] == pytest.approx(np.mean(figures["distances"]), abs=2e-6)
    assert figures["recipe"] == cell.steps
    assert (figures["images"], figures["labels"]) == (4, False)
    assert {"seconds", "cell_seconds", "size_mb", "date", "commit", "machine"} <= set(figures)
    json.dumps(figures, allow_nan=False)

    folder = cell.folder(tmp_path)
    truth = load_truth(cache_folder() / "demo/annotations/val.json")
    found = ResampledMap(truth, folder / "detections/cell.bbox.json")
    assert round(found(range(found.num_images)), 3) == figures["bbox_mAP"]
    draws = np.load(folder / "draws.npy")
    assert draws.shape == (1000,)
    assert abs(draws.mean() - 100 * figures["bbox_mAP"]) < 1
    assert not (folder / "stages").exists()
