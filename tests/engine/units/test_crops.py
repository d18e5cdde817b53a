"""Captured crops of a detector's units against their whole maps, and the loss on them."""

import pytest
import torch

from mmptq.engine import CalibrationContext
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.capture import UnitCapture
from mmptq.engine.units.unit_data import FLOAT_IN, FLOAT_OUT, QUANT_IN, CacheSettings, UnitData
from mmptq.engine.units.unit_problem import TrainedForm, UnitProblem
from mmptq.engine.units.units import Unit, find_units
from tests.calibration_support import MakeContext, make_context

__all__ = ["make_context"]


def captured(
    context: CalibrationContext, names: list[str], crop: int | None, seed: int = 0
) -> list[tuple[Unit, UnitData, str]]:
    graph = call_graph(context.model, context.adapter)
    units = find_units(context.model, context.adapter, graph, "block")
    capture = UnitCapture(context, units, graph, CacheSettings(), crop=crop, seed=seed)
    found = []
    for index, unit in enumerate(units):
        if unit.name in names:
            data = capture.float_data(index)
            capture.add_quantized(index, data)
            found.append((unit, data, capture.note))
    return found


NAMES = ["backbone.layer1.0", "backbone.layer2.0", "bbox_head.cls_convs.0"]


@torch.no_grad()
def test_units_of_a_detector_give_on_crops_what_they_give_on_whole_maps(
    make_context: MakeContext,
) -> None:
    """Quantized, for residual blocks with and without stride, and a head's layer on each level."""
    context = make_context("retinanet")
    whole, cropped = captured(context, NAMES, None), captured(context, NAMES, 5)
    assert [unit.name for unit, _, _ in cropped] == NAMES
    for (unit, full, nothing), (_, data, note) in zip(whole, cropped, strict=True):
        assert nothing == "" and note == "crops"
        module = context.adapter.model.get_submodule(unit.name)
        problem = UnitProblem(module, unit, TrainedForm(context.model, unit, {}, {}), data)
        cut = 0
        for call in range(data.num_calls):
            for image in range(data.num_images):
                y = problem.output(full.get(QUANT_IN, image, call), call)
                windows = data._windows.get((image, call), [])
                cut += len(windows)
                for number, window in enumerate(windows):
                    sample = image + number * data.num_images
                    for kind, area in (
                        (QUANT_IN, window.read),
                        (FLOAT_IN, window.read),
                        (FLOAT_OUT, window.written),
                    ):
                        expected = full.get(kind, image, call)[(..., *area)]
                        assert torch.equal(data.get(kind, sample, call), expected)
                    mask = data.compared([sample], call, y.shape)
                    assert mask is not None
                    own = problem.output(data.get(QUANT_IN, sample, call), call)
                    error = (own - y[(..., *window.written)]) * mask
                    assert float(error.abs().max()) <= 1e-4 * float(y.abs().max())
        assert cut > 0
        # Small levels of the head stay whole beside the large ones.
        if data.num_calls > 1:
            assert len(data._windows) < data.num_calls * data.num_images


@torch.no_grad()
def test_the_loss_counts_compared_outputs_only(make_context: MakeContext) -> None:
    context = make_context("retinanet")
    ((unit, full, _),) = captured(context, NAMES[1:2], None)
    ((_, data, _),) = captured(context, NAMES[1:2], 5)
    module = context.adapter.model.get_submodule(unit.name)
    problem = UnitProblem(module, unit, TrainedForm(context.model, unit, {}, {}), data)
    samples = [data.samples(0)[0], data.samples(1)[-1]]
    total, positions = 0.0, 0
    for image, number in ((0, 0), (1, -1)):
        window = data._windows[image, 0][number]
        y = problem.output(full.get(QUANT_IN, image, 0), 0)
        error = (y - full.get(FLOAT_OUT, image, 0))[(..., *window.written)][(..., *window.compared)]
        total += float(error.square().sum())
        positions += error[0, 0].numel()
    assert float(problem.loss(samples)) == pytest.approx(total / positions, rel=1e-4)


def test_a_seed_draws_the_same_crops_again(make_context: MakeContext) -> None:
    context = make_context("retinanet")
    first, again, other = (
        captured(context, NAMES[:1], 5, seed)[0][1]._windows for seed in (0, 0, 1)
    )
    assert first == again and first != other
