"""Batches of images and the cross-entropy, on a small classifier."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch.nn import functional as F

from mmptq.adapters import find_adapter
from mmptq.algorithms import RangeCalibration
from mmptq.algorithms.reconstruction.fisher import add_fisher_weights
from mmptq.engine import CalibrationContext, CalibrationSet, LossEvaluator, StageStore
from mmptq.engine.data.float_checkpoint import load_float_checkpoint
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.capture import UnitCapture
from mmptq.engine.units.unit_data import FLOAT_IN, FLOAT_OUT, QUANT_IN, WEIGHT, CacheSettings
from mmptq.engine.units.units import find_units
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.models import QConfig
from mmptq.runner.calib_dataset import calibration_dataset_cfg
from tests.calibration_support import MMSE, MakeContext, make_context  # noqa: F401
from tests.classification_support import ClassProject, make_class_project
from tests.conftest import randomise

IMAGES = 10
Make = Callable[..., CalibrationContext]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ClassProject:
    return make_class_project(tmp_path_factory.mktemp("classes"), randomise)


@pytest.fixture
def make(project: ClassProject, tmp_path: Path) -> Make:
    def context(batch_size: int) -> CalibrationContext:
        init_default_scope("mmdet")
        cfg = project.load(tmp_path)
        model = MODELS.build(cfg.model).eval()
        load_float_checkpoint(model, cfg.load_from)
        adapter = find_adapter(model.model)
        model.prepare(adapter.plan(QConfig.parse(cfg.qconfig)))
        dataset = DATASETS.build(calibration_dataset_cfg(cfg))
        data = CalibrationSet(dataset, IMAGES, 0, 1.0, tmp_path, batch_size)
        store = StageStore(tmp_path / str(batch_size), {}, False)
        context = CalibrationContext(model, adapter, data, store, lambda items, *_: iter(items))
        RangeCalibration(weight=MMSE, act=MMSE).run(context)
        return context

    return context


def test_batches_hold_the_same_images_in_order(make: Make) -> None:
    one, four = make(1).data, make(4).data
    assert (len(one), len(four), four.num_images) == (10, 3, 10)
    assert [position for position, _ in four] == four.positions == [0, 4, 8]
    single = [batch["inputs"][0] for _, batch in one]
    together = [image for _, batch in four for image in batch["inputs"]]
    assert all(torch.equal(a, b) for a, b in zip(single, together, strict=True))
    labels = [[int(s.gt_label) for _, b in d for s in b["data_samples"]] for d in (one, four)]
    assert labels[0] == labels[1]


def test_images_of_different_sizes_cannot_stand_in_one_batch(
    project: ClassProject, tmp_path: Path
) -> None:
    init_default_scope("mmdet")
    dataset = DATASETS.build(calibration_dataset_cfg(project.load(tmp_path)))
    heights = iter(range(8, 100))
    # In place of the Resize.
    dataset.pipeline.transforms[1] = lambda d: {**d, "img": d["img"][: next(heights)]}
    with pytest.raises(CalibrationDataError, match=r"\.png is \(3, 9, 16\).*batch_size = 1"):
        CalibrationSet(dataset, 4, 0, 1.0, tmp_path, 2)


def test_statistics_and_captures_do_not_depend_on_the_batch_size(make: Make) -> None:
    contexts = [make(1), make(4)]
    a, b = (c.model.state_dict() for c in contexts)
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-6)
    found = []
    for context in contexts:
        graph = call_graph(context.model, context.adapter)
        units = find_units(context.model, context.adapter, graph, "block")
        assert [u.name for u in units] == ["conv1", "layer1.0", "layer2.0", "layer3.0", "linear"]
        capture = UnitCapture(context, units, graph, CacheSettings())
        for index in range(3):
            data = capture.float_data(index)
            capture.add_quantized(index, data)
        add_fisher_weights(context, units[2], data, capture.frozen)
        assert data.num_images == IMAGES
        found.append(data)
    for kind in (FLOAT_IN, FLOAT_OUT, QUANT_IN, WEIGHT):
        for image in range(IMAGES):
            x, y = (data.get(kind, image, 0) for data in found)
            assert x.shape == y.shape and x.shape[0] == 1
            if kind != QUANT_IN:  # whose levels a rounding may tip
                torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("objective", ["CrossEntropy", "TaskLoss"])
@torch.no_grad()
def test_cross_entropy_is_torchs(make: Make, batch_size: int, objective: str) -> None:
    context = make(batch_size)
    evaluator = LossEvaluator(context, {"type": objective})
    model, losses = context.model, []
    for _, batch in context.data:
        data = model.data_preprocessor(batch, False)
        labels = torch.cat([s.gt_label for s in data["data_samples"]])
        losses += F.cross_entropy(model(data["inputs"]), labels, reduction="none").tolist()
    assert evaluator() == pytest.approx(sum(losses) / IMAGES, rel=1e-5)
    # The incremental passes, too.
    context.model.weight_quantizers()["layer2.0.conv1"].scale.mul_(1.5)
    changed = evaluator()
    full = LossEvaluator(context, {"type": objective}, incremental=False)()
    assert changed == full
    assert changed != pytest.approx(sum(losses) / IMAGES, rel=1e-5)


@torch.no_grad()
def test_soft_targets_need_no_labels(make: Make) -> None:
    context = make(5)
    evaluator = LossEvaluator(context, {"type": "CrossEntropy", "soft": True})
    model, total = context.model, 0.0
    for _, batch in context.data:
        x = model.data_preprocessor(batch, False)["inputs"]
        model.enable_quantizers(weights=False, activations=False)
        target = model(x).softmax(1)
        model.enable_quantizers(weights=True, activations=True)
        total += float(F.cross_entropy(model(x), target)) * len(x)
    assert evaluator() == pytest.approx(total / IMAGES, rel=1e-5)
    with pytest.raises(ConfigError, match="CrossEntropy.soft = 'yes'"):
        LossEvaluator(context, {"type": "CrossEntropy", "soft": "yes"})


def test_detectors_have_no_logits(make_context: MakeContext) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="reads a classifier's logits; for a detector"):
        LossEvaluator(make_context("retinanet"), {"type": "CrossEntropy"})
