"""All measures together, on detectors, a classifier, and killed runs."""

from typing import Any

import pytest

from mmptq.analysis.sensitivity import SensitivityReport, measure_sensitivity
from mmptq.analysis.sensitivity import measure as measuring
from mmptq.engine import CalibrationContext
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.transformer_support import MakeTransformer, make_transformer  # noqa: F401


def measured(context: CalibrationContext, **options: Any) -> SensitivityReport:
    return measure_sensitivity(context, {}, **options)


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_the_estimate_ranks_as_the_measured_distances(
    family: str,
    make_context: MakeContext,  # noqa: F811
) -> None:
    report = measured(make_context(family, images=3), images=3)
    assert report.correlations["projected"]["alone"] > 0.8
    assert report.correlations["fisher"]["alone"] > 0.8
    assert len(report.records) > 40 and report.distance is not None
    assert all(record.sqnr > 5 and record.alone is not None for record in report.records)
    assert {"stem", "layer1", "neck", "cls", "reg"} <= {r.stage for r in report.records}


def test_a_transformer_with_operands(make_transformer: MakeTransformer) -> None:  # noqa: F811
    report = measured(make_transformer("vit", images=4), images=4)
    assert report.correlations["projected"]["alone"] > 0.7
    assert any(record.name.endswith(".query.act") for record in report.records)


def test_without_distances(make_context: MakeContext) -> None:  # noqa: F811
    report = measured(make_context("retinanet"), images=0)
    assert report.distance is None and report.correlations == {}
    assert all(r.alone is r.rest is None and r.projected >= 0 for r in report.records)


def test_a_resumed_run_has_the_same_report_and_computes_no_pass(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = measured(make_context("retinanet"), images=1)
    again = make_context("retinanet", resume=True)
    monkeypatch.setattr(measuring, "second_order", lambda *_: pytest.fail("computed again"))
    assert measured(again, images=1) == first


def test_where_the_whole_is_not_finite_what_mends_it_counts(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = make_context("retinanet")
    nan = float("nan")
    monkeypatch.setattr(
        measuring,
        "measure_distances",
        lambda c, tensors, *_: measuring.Distances(
            [0.1] * len(tensors), [0.5, *[nan] * (len(tensors) - 1)], nan
        ),
    )
    records = measured(context, images=1).records
    assert records[0].rest == float("inf") and records[1].rest != records[1].rest
