"""The weights of channels by the outputs' Fisher information."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmptq.algorithms.reconstruction.output_fisher import output_metrics
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.units import find_units
from tests.calibration_support import MakeContext, make_context
from tests.sensitivity_support import CLASSES, linear_context
from tests.steps_support import SMALL, make_step, run, same, state

__all__ = ["make_context"]


def metrics_of(context: Any) -> dict[str, tuple[Tensor, ...]]:
    graph = call_graph(context.model, context.adapter)
    units = find_units(context.model, context.adapter, graph, "block")
    return output_metrics(context, units)


def test_equal_the_fisher_information_computed_by_hand(tmp_path: Path) -> None:
    context = linear_context(tmp_path)
    (_, first), (_, second) = context.model.quant_layers()
    w1, w2 = first.weight.detach().double(), second.weight.detach().double()
    moments = {"network.1": 0.0, "network.2": 0.0}
    for position, batch in context.data:
        x = context.adapter.preprocess(batch, False)["inputs"].flatten(1)[0].double()
        y = w2 @ (w1 @ x + first.bias.detach()) + second.bias.detach()
        signs = torch.randint(0, 2, (1, CLASSES), generator=torch.Generator().manual_seed(position))
        back = (signs[0].double() * 2 - 1) / (y - y.mean()).square().sum().sqrt()
        for name, g in (("network.1", w2.T @ back), ("network.2", back)):
            moments[name] = moments[name] + torch.outer(g, g)
    found = metrics_of(context)
    assert found.keys() == moments.keys()
    for name, moment in moments.items():
        (metric,) = found[name]
        assert isinstance(moment, Tensor)
        own = moment / moment.diagonal().mean()
        by_hand = (own + torch.eye(len(own))) / 2
        torch.testing.assert_close(metric.double(), by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_of_detectors(make_context: MakeContext, name: str) -> None:
    """Each positive definite, with the mean 1 over a unit's calls; levels have their own."""
    context = make_context(name, qconfig={**SMALL, "overrides": []})
    before = state(context)
    found = metrics_of(context)
    assert same(before, state(context))
    counts = {len(metrics) for metrics in found.values()}
    assert max(counts) > 1  # a head over the levels of a pyramid
    for metrics in found.values():
        for metric in metrics:
            assert torch.equal(metric, metric.T)
            assert float(torch.linalg.eigvalsh(metric.double())[0]) > 0
    (stem,) = found["backbone.conv1"]
    assert float(stem.diagonal().mean()) == pytest.approx(1.0, rel=1e-5)
    assert not torch.allclose(stem.diagonal(), torch.ones(len(stem)), rtol=0.1)
    again = metrics_of(context)
    assert all(torch.equal(a, b) for n in found for a, b in zip(found[n], again[n], strict=True))


def test_no_labels_are_read_and_units_learn(make_context: MakeContext) -> None:
    step = make_step("outputs")
    assert not step.reads_loss and not step.reads_labels
    context = make_context("retinanet", qconfig=SMALL)
    weighted = run(context, step)
    plain = run(make_context("retinanet", qconfig=SMALL, folder="plain"), make_step("qdrop"))
    assert not same(weighted, plain)
