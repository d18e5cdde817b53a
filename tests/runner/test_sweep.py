"""The runs of a sweep over budgets."""

from typing import Any

import pytest
from mmengine.config import Config

from mmptq.runner.sweep import UNIFORM, sweep_runs

MMSE = dict(type="LpNormObserver", p=2.0)
RANGES = dict(type="RangeCalibration", weight=MMSE, act=MMSE)


def config(steps: list[dict[str, Any]], method: str = "mmse") -> Config:
    return Config(
        dict(
            work_dir="w",
            qconfig=dict(scope="full", weight=dict(num_bits=4), act=dict(num_bits=4)),
            calib_cfg=dict(method=method, steps=steps, num_images=4),
            visualizer=dict(type="DetLocalVisualizer", name="visualizer"),
        )
    )


def test_a_recipe_without_mixed_precision_gets_one_in_front() -> None:
    runs = sweep_runs(config([RANGES, dict(type="GPTQ")], "gptq"), ["W6A6", "W3A4"])
    assert [r.name for r in runs] == [
        *(f"uniform_{bits.lower()}" for bits in UNIFORM),
        "size_mb_w6a6", "size_mb_w3a4", "gbops_w6a6", "gbops_w3a4",
    ]  # fmt: skip
    uniform, mixed = runs[2].config, runs[-1].config
    assert (uniform.qconfig.weight.num_bits, uniform.qconfig.act.num_bits) == (4, 8)
    assert [s.type for s in uniform.calib_cfg.steps] == ["RangeCalibration", "GPTQ"]
    assert mixed.calib_cfg.steps[0] == dict(type="MixedPrecision", gbops="W3A4")
    assert [s["type"] for s in mixed.calib_cfg.steps[1:]] == ["RangeCalibration", "GPTQ"]
    assert (uniform.calib_cfg.method, mixed.calib_cfg.method) == ("gptq", "mixed_gptq")
    assert {r.curve for r in runs} == {"uniform", "mixed, size_mb", "mixed, gbops"}


def test_the_budgets_of_a_recipe_are_what_is_swept() -> None:
    step = dict(type="MixedPrecision", size_mb=3.0, gbops="W4A4", act=dict(type="MinMaxObserver"))
    runs = sweep_runs(config([step, dict(type="GPTQ")], "mixed_gptq"), ["W4A4"])
    mixed = runs[-1]
    assert (mixed.name, mixed.budget) == ("size_mb_gbops_w4a4", ("size_mb", "gbops"))
    assert mixed.config.calib_cfg.steps[0] == {**step, "size_mb": "W4A4", "gbops": "W4A4"}
    assert len(runs) == len(UNIFORM) + 1
    uniform = runs[0].config.calib_cfg
    assert uniform.method == "gptq"
    assert uniform.steps[0] == dict(
        type="RangeCalibration", weight=MMSE, act=dict(type="MinMaxObserver")
    )


@pytest.mark.parametrize("asked", [True, False])
def test_the_float_model_is_measured_once_at_most(asked: bool) -> None:
    cfg = config([RANGES])
    cfg.calib_cfg.eval_float = asked
    runs = sweep_runs(cfg, ["W4A4"])
    assert [r.config.calib_cfg.eval_float for r in runs] == [asked, *[False] * (len(runs) - 1)]
    assert not any(r.config.calib_cfg.baseline for r in runs)


def test_every_run_has_a_folder_and_a_name_of_its_own() -> None:
    runs = sweep_runs(config([RANGES]), ["W4A4"])
    assert len({r.config.work_dir for r in runs}) == len(runs)
    assert len({r.config.visualizer.name for r in runs}) == len(runs)
    assert all(r.config.work_dir == f"w/pareto/{r.name}" for r in runs)
