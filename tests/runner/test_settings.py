import pytest

from mmptq.algorithms import RangeCalibration
from mmptq.errors import ConfigError
from mmptq.runner.settings import CalibrationSettings

STEP = dict(type="RangeCalibration")
BASE = dict(method="mine", steps=[STEP])


def test_defaults():
    settings = CalibrationSettings.parse(BASE)
    assert [type(step) for step in settings.steps] == [RangeCalibration]
    assert (settings.num_images, settings.seed, settings.cache_gb) == (32, 0, 4.0)
    assert settings.baseline
    assert settings.eval_float


def test_all_keys():
    cfg = dict(BASE, num_images=1, seed=7, baseline=False, eval_float=False, cache_gb=0)
    settings = CalibrationSettings.parse(cfg)
    assert {key: getattr(settings, key) for key in cfg if key != "steps"} == {
        key: value for key, value in cfg.items() if key != "steps"
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(num_image=3), r"calib_cfg.num_image: unknown key; did you mean 'num_images'\?"),
        (dict(xyz=3), "calib_cfg.xyz: unknown key; known: method, steps, num_images"),
        (dict(method=None), "calib_cfg.method is missing"),
        (dict(method=3), "calib_cfg.method = 3: must be a string"),
        (dict(steps=[]), "calib_cfg.steps is missing"),
        (dict(steps=STEP), "calib_cfg.steps = .*: must be a list"),
        (dict(steps=["RangeCalibration"]), r"calib_cfg.steps\[0\] must be a dict with the key"),
        (dict(steps=[STEP, dict(type="RangeCal")]), r"calib_cfg.steps\[1\].type: no step is"),
        (dict(steps=[dict(STEP, wight={})]), r"calib_cfg.steps\[0\].wight: unknown argument"),
        (
            dict(steps=[STEP, dict(type="Equalization"), dict(type="BiasCorrection")]),
            r"calib_cfg.steps\[1\]: Equalization changes .*; put RangeCalibration behind it",
        ),
        (
            dict(steps=[STEP, dict(type="GPTQ"), dict(type="BiasCorrection", mode="weights")]),
            r"calib_cfg.steps\[2\]: BiasCorrection starts .* which GPTQ \(steps\[1\]\)",
        ),
        (
            dict(steps=[STEP, dict(type="AdaRound"), dict(type="BitShrinking")]),
            r"calib_cfg.steps\[2\]: BitShrinking starts from the float weights, which AdaRound",
        ),
        (
            dict(steps=[STEP, dict(type="GPTQ"), STEP]),
            r"calib_cfg.steps\[2\]: RangeCalibration starts from the float weights",
        ),
        (dict(num_images=0), "calib_cfg.num_images = 0: must be a whole number of 1 or more"),
        (dict(num_images=True), "calib_cfg.num_images = True"),
        (dict(num_images="32"), "calib_cfg.num_images = '32'"),
        (dict(seed=-1), "calib_cfg.seed = -1: must be a whole number of 0 or more"),
        (dict(seed=0.5), "calib_cfg.seed = 0.5"),
        (dict(baseline="no"), "calib_cfg.baseline = 'no'"),
        (dict(eval_float=0), "calib_cfg.eval_float = 0"),
        (dict(cache_gb=-1), "calib_cfg.cache_gb = -1: must be a number of 0 or more"),
        (dict(cache_gb="4"), "calib_cfg.cache_gb = '4'"),
        (dict(cache_gb=float("nan")), "calib_cfg.cache_gb = nan"),
        (dict(cache_gb=None), "calib_cfg.cache_gb = None"),
    ],
)
def test_bad_values(change, message):
    with pytest.raises(ConfigError, match=message):
        CalibrationSettings.parse({**BASE, **change})


@pytest.mark.parametrize("cfg", [None, [], "mmse"])
def test_no_dict(cfg):
    with pytest.raises(ConfigError, match="calib_cfg = .*: must be a dict"):
        CalibrationSettings.parse(cfg)


@pytest.mark.parametrize(
    "steps",
    [
        [dict(type="BRECQ"), dict(type="LearnedSteps")],
        [dict(type="GPTQ"), dict(type="BiasCorrection", mode="measured")],
        [dict(type="GPTQ"), dict(type="LearnedSteps")],
        [dict(type="GPTQ"), dict(type="JointSearch", objective=dict(type="OutputDistance"))],
        [dict(type="GPTQ"), dict(type="JointSearch", objective=dict(type="TaskLoss"))],
        [dict(type="BiasCorrection", mode="measured"), dict(type="BitShrinking")],
    ],
)
def test_orders_that_work(steps):
    assert len(CalibrationSettings.parse({**BASE, "steps": [STEP, *steps]}).steps) == 3
