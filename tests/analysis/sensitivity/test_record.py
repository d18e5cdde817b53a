"""Records survive JSON; sums and orders."""

import json
import math

import pytest

from mmptq.analysis.sensitivity import Sensitivity, SensitivityReport, sum_by_stage, worst_first
from tests.sensitivity_support import record


def test_json_and_back() -> None:
    records = (record("a", alone=0.5), record("b", alone=None), record("c", sqnr=math.inf))
    report = SensitivityReport(records, 0.7, correlations={"sqnr": {"alone": 0.5}})
    again = SensitivityReport.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again == report
    assert SensitivityReport.from_dict({**report.to_dict(), "of a later version": 1}) == report
    values = {**records[0].to_dict(), "of a later version": 1}
    assert Sensitivity.from_dict(values) == records[0]


def test_sums_by_stage() -> None:
    records = [
        record("neck.a", stage="neck", macs=5, fisher=1.0, projected=2.0, alone=3.0, rest=4.0),
        record("neck.a", stage="neck", macs=5, which="act", fisher=0.5, projected=0.5, alone=1.0),
        record("b", stage="stem", macs=7, alone=2.0, rest=0.25),
    ]
    stem, neck = sum_by_stage(records)
    assert (stem.stage, stem.quantizers, stem.macs, stem.rest) == ("stem", 1, 7, 0.25)
    assert (neck.quantizers, neck.fisher, neck.projected, neck.alone) == (2, 1.5, 2.5, 4.0)
    assert neck.macs == 5  # the same multiplications, not twice
    assert neck.rest is None  # one was not measured


def test_what_is_not_finite_is_worst() -> None:
    records = [record("a", alone=0.5), record("b", alone=math.nan), record("c", alone=2.0)]
    assert [r.name for r in worst_first(records)] == ["b.weight", "c.weight", "a.weight"]
    estimated = [record("a", projected=0.1, alone=None), record("b", projected=0.2, alone=None)]
    assert [r.name for r in worst_first(estimated)] == ["b.weight", "a.weight"]


@pytest.mark.parametrize(("bits", "more"), [(2, 8), (4, 8), (7, 8), (8, 16)])
def test_more_bits(bits: int, more: int) -> None:
    assert record("a", num_bits=bits).more_bits == more
