"""benchmarks/comparison/plan.py: what decides a cell."""

import pytest
from mmengine.config import Config

from tests.tiny_project import REPO


@pytest.fixture
def cell():
    from comparison.columns import find_columns
    from comparison.plan import Cell
    from comparison.specs import find_specs

    def make(method):
        return Cell("vit_long_digits", *find_specs([method]), *find_columns(["W4A4"]))

    return make


def test_overrides_decide_a_cell_and_others_are_as_before(cell):
    assert set(cell("mmse").decides) == {"recipe", "images"} and cell("mmse").overrides == []
    decides = cell("mmse_log").decides
    assert decides["overrides"] == [{"role": "softmax", "act": {"type": "LogQuantizer"}}]
    assert decides["recipe"] == cell("mmse").decides["recipe"]


def test_a_cell_without_them_is_another_recipe(cell, tmp_path):
    from comparison.plan import state

    log = cell("mmse_log")
    assert state(log, {log.name: log.decides}, tmp_path) == "done"
    assert state(log, {log.name: cell("mmse").decides}, tmp_path) == "other recipe"


def test_every_override_is_a_qconfigs(cell):
    from comparison.methods import METHODS

    from mmptq.models import QConfig

    for key, method in METHODS.items():
        if method.overrides:
            parsed = QConfig.parse({"overrides": cell(key).overrides})
            assert len(parsed.overrides) >= len(method.overrides)


def test_the_preset_for_detrs_is_what_is_measured():
    from comparison.methods import METHODS

    preset = Config.fromfile(REPO / "configs/_base_/quant/detr_w4a4.py").qconfig.to_dict()
    for key in ("mmse_detr", "gptq_detr"):
        assert list(METHODS[key].overrides) == preset["overrides"]
