"""Rank correlations against scipy's, and their signs."""

import math

import pytest
from scipy.stats import spearmanr

from mmptq.analysis.sensitivity.ranking import rank_correlations
from tests.sensitivity_support import record


def test_against_scipy() -> None:
    fisher, alone, rest = [1.0, 2.0, 5.0, 3.0], [1.0, 4.0, 3.0, 2.0], [0.1, -0.2, 0.3, 0.0]
    records = [
        record(f"layer{i}", fisher=f, alone=a, rest=r)
        for i, (f, a, r) in enumerate(zip(fisher, alone, rest, strict=True))
    ]
    found = rank_correlations(records)
    assert found["fisher"]["alone"] == pytest.approx(spearmanr(fisher, alone).statistic)
    assert found["alone"] == {"rest": pytest.approx(spearmanr(alone, rest).statistic)}
    assert "sqnr" not in found  # the same everywhere: no ranking
    assert "metric_without" not in found["fisher"]


def test_a_large_value_of_every_measure_means_harm_or_is_turned() -> None:
    records = [
        record(
            f"layer{i}", sqnr=30.0 - i, alone=0.1 * i, metric_alone=0.5 - 0.1 * i, metric_without=i
        )
        for i in range(4)
    ]
    found = rank_correlations(records)
    assert found["sqnr"]["alone"] == pytest.approx(1.0)
    assert found["alone"] == pytest.approx({"metric_alone": 1.0, "metric_without": 1.0})


def test_what_is_not_finite_ranks_worst_and_few_say_nothing() -> None:
    records = [record(f"layer{i}", projected=i, alone=float(i)) for i in range(3)]
    records[2] = record("layer2", projected=2, alone=math.nan)
    assert rank_correlations(records)["projected"]["alone"] == pytest.approx(1.0)
    assert rank_correlations(records[:2]) == {}
    assert rank_correlations([record("a", alone=None)] * 5) == {}
