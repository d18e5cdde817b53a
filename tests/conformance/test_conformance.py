"""Every family of detectors goes through every recipe, or is refused where that is right."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint

from mmptq.engine import LossEvaluator
from mmptq.errors import MmptqError
from mmptq.hooks.save import save_checkpoint
from mmptq.models import stays_float
from tests.conformance.checks import LARGEST_DISTANCE, check_plan, check_reconstruction
from tests.conformance.families import RECIPES, Family, load_families
from tests.conformance.project import make_images
from tests.conformance.recipes import FamilyRun, matched, sums, training_loss

FAMILIES = load_families()
# Of the float model's detections. Scores of random weights lie close together, so a few change
# places in the suppression of overlaps and at the limit of detections an image.
LEAST_MATCHED = 0.5

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    make_images(folder)
    return folder


@pytest.fixture(autouse=True)
def in_short(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Leave out what takes longer than the recipes: curves, and in `make test` the explanations.

    Random weights lie so close to each other that nearly every row loses enough to be explained.
    """
    monkeypatch.setattr("mmptq.algorithms.reconstruction.report.plot_unit", lambda *_: Figure())
    if "conformance" not in request.config.option.markexpr:
        monkeypatch.setattr("mmptq.runner.explain.COLLAPSE", 1.0)


@pytest.fixture(scope="module")
def run_of(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], FamilyRun]:
    """The runs of a family; only the last family's are kept."""
    kept: dict[str, FamilyRun] = {}

    def get(family: Family) -> FamilyRun:
        if family.name not in kept:
            kept.clear()
            kept[family.name] = FamilyRun(family, images, tmp_path_factory.mktemp(family.name))
        return kept[family.name]

    return get


def check_mmse_w8a8(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """The quantized model finds what the float model finds."""
    runner, results = run.mmse
    float_row, row = results.rows
    wanted, found = run.detect(run.float_model), run.detect(runner.model)
    hits = torch.cat([matched(a, b) for a, b in zip(wanted, found, strict=True)])
    record("matched", float(hits.float().mean()))
    distance = LossEvaluator(runner.context, {"type": "OutputDistance"}, incremental=False)()
    record("distance", distance)
    assert distance <= LARGEST_DISTANCE
    assert hits.float().mean() >= LEAST_MATCHED
    assert row.metrics.keys() == float_row.metrics.keys()
    assert 0 < row.metrics["bbox_mAP_50"] <= 1 and float_row.metrics["bbox_mAP_50"] > 0


def check_reload(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """A model built from the dumped config, with the checkpoint loaded by MMEngine, is the same.

    So it is with the checkpoint packed, in which every quantized weight is a code.
    """
    runner, _ = run.mmse
    work_dir = Path(runner.work_dir)
    save_checkpoint(work_dir / "packed.pth", runner.model, {}, packed=True)
    assert not stays_float(runner.model)
    detected = run.detect(runner.model)
    for name in ("quantized.pth", "packed.pth"):
        cfg = Config.fromfile(work_dir / Path(runner.cfg.filename).name)
        model = MODELS.build(cfg.model).eval()
        load_checkpoint(model, str(work_dir / name), map_location="cpu")
        for wanted, found in zip(detected, run.detect(model), strict=True):
            assert found.keys() == wanted.keys()
            assert all(torch.equal(found[key], value) for key, value in wanted.items())


def check_export(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """As much of it becomes a graph as is known."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.conformance.graphs import most

    graph, reasons = most(run)
    record("graph", graph)
    record("no_graph", " | ".join(reasons))
    assert graph == run.family.graph, reasons


def check_task_loss(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """The loss of the search is the loss that MMDetection trains with."""
    context = run.runner("task_loss").setup()
    for _, batch in context.data:
        batch = context.adapter.preprocess(batch, with_labels=True)
        # Some losses remember: each image meets the model as it is before a training.
        wanted = training_loss(copy.deepcopy(run.float_model), copy.deepcopy(batch))
        image, samples = batch["inputs"], batch["data_samples"]
        with torch.no_grad():
            frozen = context.adapter.freeze(image, samples, with_labels=True)
            losses = [sums(context.adapter.loss(image, frozen)) for _ in range(2)]
        assert losses[0] == losses[1]
        assert losses[0] == pytest.approx(wanted, rel=1e-4)
        assert all(map(math.isfinite, wanted.values()))


def check_gptq(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """The outputs are nearer to the float model's than those of ranges alone."""
    runner = run.runner("gptq")
    context = runner.setup()
    runner.prepare_model(context)
    evaluator = LossEvaluator(context, {"type": "OutputDistance"}, incremental=False)
    distances = []
    for step in runner.settings.steps:
        step.run(context)
        distances.append(evaluator())
    assert math.isfinite(distances[0])
    assert distances[1] < distances[0]


def check_adaround(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """Every layer is rounded anew, none for the worse."""
    check_reconstruction(run, "adaround", "AdaRound")


def check_bitshrink(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """Every unit is reconstructed, none for the worse."""
    check_reconstruction(run, "bitshrink", "BitShrinking")


def check_lapq(run: FamilyRun, record: Callable[[str, Any], None]) -> None:
    """The search never ends above its start."""
    runner = run.runner("lapq")
    runner.calibrate()
    for step in runner.settings.steps:
        assert math.isfinite(step.report.start)
        assert step.report.best <= step.report.start


CHECKS = {recipe: globals()[f"check_{recipe}"] for recipe in RECIPES if recipe != "plan"}
CHECKS["plan"] = check_plan


@pytest.mark.parametrize(
    ("family", "recipe"),
    [
        pytest.param(
            family, recipe, id=f"{family.name}-{recipe}", marks=pytest.mark.xdist_group(family.name)
        )
        for family in FAMILIES
        for recipe in RECIPES
    ],
)
def test_recipe(
    family: Family,
    recipe: str,
    run_of: Callable[[Family], FamilyRun],
    record_property: Callable[[str, Any], None],
) -> None:
    for name, value in (("family", family.name), ("config", family.config), ("recipe", recipe)):
        record_property(name, value)
    run = run_of(family)
    refusal = family.refused.get(recipe)
    if refusal is None:
        CHECKS[recipe](run, record_property)
        return
    record_property("refused", refusal)
    runner = run.runner(recipe)
    with pytest.raises(MmptqError, match=refusal):
        runner.setup()
