"""The metric of the worst quantizers: what is measured together, what the log keeps."""

from collections.abc import Sequence

import pytest

from mmptq.analysis.sensitivity import (
    SensitivityReport,
    Variant,
    add_metrics,
    measure_sensitivity,
    worst_first,
)
from mmptq.engine import CalibrationContext
from tests.calibration_support import MakeContext, make_context  # noqa: F401


class Metric:
    """A metric that counts the quantizers that are on; notes what was measured together.

    Args:
        context: Of the model.
        dies_at: Number of a call in which the run is killed.
    """

    def __init__(self, context: CalibrationContext, dies_at: int | None = None) -> None:
        self._quantizers = [
            *context.model.sites.values(),
            *context.model.weight_quantizers().values(),
        ]
        self._dies_at = dies_at
        self.calls: list[list[int]] = []
        self.names: list[str] = []

    def __call__(self, variants: Sequence[Variant], name: str) -> list[float]:
        if len(self.calls) == self._dies_at:
            raise KeyboardInterrupt
        counts = []
        for variant in variants:
            with variant():
                counts.append(sum(quantizer.enabled for quantizer in self._quantizers))
        self.calls.append(counts)
        self.names.append(name)
        return [1.0 / (1 + count) for count in counts]

    @property
    def all(self) -> int:
        return len(self._quantizers)


@pytest.fixture
def report(make_context: MakeContext) -> SensitivityReport:  # noqa: F811
    return measure_sensitivity(make_context("retinanet", folder="report"), {}, images=0)


def test_the_worst_around_the_float_and_the_quantized_model(
    report: SensitivityReport,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet")
    metric = Metric(context)
    found = add_metrics(report, context, metric, 2, {"metric": "a"})
    count = metric.all
    assert metric.calls == [[0, 1, 1], [count, count - 1, count - 1]]
    assert "alone" in metric.names[0] and "all but" in metric.names[1]
    assert found.metric_float == 1.0 and found.metric_all == 1.0 / (1 + count)
    with_metric = [r for r in found.records if r.metric_alone is not None]
    assert {r.name for r in with_metric} == {r.name for r in worst_first(report.records)[:2]}
    assert all(r.metric_without == 1.0 / count for r in with_metric)
    assert [r.name for r in found.records] == [r.name for r in report.records]
    again = Metric(context)
    assert add_metrics(report, context, again, 2, {"metric": "a"}) == found
    # Fewer than the log holds are fewer; of more, what it lacks is measured beside the reference.
    fewer = add_metrics(report, context, again, 1, {"metric": "a"})
    assert [r.metric_alone is not None for r in fewer.records].count(True) == 1
    assert again.calls == []
    add_metrics(report, context, again, 3, {"metric": "a"})
    assert again.calls == [[0, 1], [count, count - 1]]


def test_many_are_measured_in_several_passes(
    report: SensitivityReport,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet")
    metric = Metric(context)
    add_metrics(report, context, metric, 20, {"metric": "a"})
    assert [len(call) for call in metric.calls] == [9, 10, 4] * 2
    assert all(call[0] in (0, metric.all) for call in metric.calls)


def test_a_killed_run_goes_on(
    report: SensitivityReport,
    make_context: MakeContext,  # noqa: F811
) -> None:
    whole = make_context("retinanet")
    expected = add_metrics(report, whole, Metric(whole), 12, {"metric": "a"})
    context = make_context("retinanet", folder="killed")
    with pytest.raises(KeyboardInterrupt):
        add_metrics(report, context, Metric(context, dies_at=1), 12, {"metric": "a"})
    again = make_context("retinanet", folder="killed", resume=True)
    metric = Metric(again)
    assert add_metrics(report, again, metric, 12, {"metric": "a"}) == expected
    assert [len(call) for call in metric.calls] == [5, 9, 5]
    another = Metric(again)
    add_metrics(report, again, another, 12, {"metric": "b"})
    assert [len(call) for call in another.calls] == [9, 5] * 2
