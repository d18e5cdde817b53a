"""The one number that steps may choose by."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from mmptq.engine import StageStore
from mmptq.errors import MmptqError
from mmptq.quantizers import UniformQuantizer
from mmptq.runner.main_metric import MainMetric


class Runner:
    """Measures whether its one quantizer is on."""

    def __init__(self, metrics: dict[bool, dict[str, float]]) -> None:
        self.quantizer = UniformQuantizer(4)
        self.quantizer.enabled = True
        self.model: Any = SimpleNamespace(
            weight_quantizers=lambda: {"a": self.quantizer}, sites=dict[str, nn.Module]()
        )
        self.settings: Any = SimpleNamespace(method="mmse")
        self.metrics, self.asked = metrics, list[str]()

    def evaluate(self, method: str) -> dict[str, float]:
        self.asked.append(method)
        return self.metrics[self.quantizer.enabled]


def test_fractions_are_in_percent_and_the_float_model_is_measured_once(tmp_path: Path) -> None:
    runner = Runner({False: {"bbox_mAP": 0.5, "bbox_mAP_50": 0.9}, True: {"bbox_mAP": 0.25}})
    store = StageStore(tmp_path, {}, False)
    metric = MainMetric(runner, store)
    assert (metric.of_float(), metric.now(), metric.now(), metric.of_float()) == (50, 25, 25, 50)
    assert runner.asked == ["float", "mmse", "mmse"] and runner.quantizer.enabled
    assert MainMetric(runner, store).of_float() == 50 and len(runner.asked) == 3


def test_a_model_that_detects_nothing_has_none_of_it(tmp_path: Path) -> None:
    runner = Runner({False: {"top1": 91.0}, True: {}})
    metric = MainMetric(runner, StageStore(tmp_path, {}, False))
    assert (metric.of_float(), metric.now()) == (91.0, 0.0)


def test_without_any_metric_there_is_nothing_to_choose_by(tmp_path: Path) -> None:
    metric = MainMetric(Runner({False: {}, True: {}}), StageStore(tmp_path, {}, False))
    with pytest.raises(MmptqError, match="no metric to choose by"):
        metric.now()
