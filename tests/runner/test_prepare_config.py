from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from mmptq.errors import ConfigError
from mmptq.hooks import CalibrationProgressHook, DetectionPictureHook, SaveQuantizedHook
from mmptq.registry import HOOKS
from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import (
    DEFAULT_CALIB,
    calibration_hooks,
    complete_config,
    save_packed,
    set_data_root,
    wrap_model,
)
from mmptq.runner.settings import CalibrationSettings
from tests.tiny_project import REPO


def detector() -> Config:
    return Config(
        dict(
            model=dict(type="RetinaNet", backbone=dict(depth=18)),
            qconfig=dict(scope="full"),
            test_dataloader=dict(dataset=dict(type="CocoDataset")),
            test_evaluator=dict(type="CocoMetric"),
        )
    )


def test_wrapping_keeps_the_detectors_keys_and_is_idempotent():
    cfg = detector()
    wrap_model(cfg)
    once = cfg.model.to_dict()
    assert once == dict(
        type="mmptq.QuantDetector", detector_type="RetinaNet", backbone=dict(depth=18)
    )
    wrap_model(cfg)
    assert cfg.model.to_dict() == once


@pytest.mark.parametrize("name", ["mmptq.CifarResNet", "mmptq.ModuleClassifier"])
def test_classifiers_get_their_own_wrapper(name):
    cfg = Config(dict(model=dict(type=name, depth=20), default_scope="mmdet"))
    wrap_model(cfg)
    once = cfg.model.to_dict()
    assert once == dict(type="mmptq.QuantClassifier", classifier_type=name, depth=20)
    wrap_model(cfg)
    assert cfg.model.to_dict() == once


def test_name_without_scope_counts_as_wrapped():
    cfg = Config(dict(model=dict(type="QuantDetector", detector_type="RetinaNet")))
    wrap_model(cfg)
    assert cfg.model.detector_type == "RetinaNet"


def dataset(root: str, ann_file: str = "annotations/train.json") -> dict:
    return dict(type="CocoDataset", data_root=root, ann_file=ann_file, data_prefix=dict(img="a/"))


def test_configs_inherited_by_the_packages_name_are_the_same(tmp_path):
    name = "demo/retinanet_w8a8_mmse.py"
    (tmp_path / "own.py").write_text(f"_base_ = ['mmptq::{name}']\n")
    direct, own = (
        read_config(str(p)).to_dict() for p in (REPO / "configs" / name, tmp_path / "own.py")
    )
    paths = [Path(cfg.pop("load_from")).resolve() for cfg in (direct, own)]
    assert paths[0] == paths[1]
    assert own == direct
    assert direct["qconfig"]["weight"] == {"num_bits": 8}


def test_data_root_of_nested_datasets_and_evaluators():
    cfg = Config(
        dict(
            data_root="data/coco/",
            train_dataloader=dict(
                dataset=dict(
                    type="ConcatDataset",
                    datasets=[
                        dict(type="RepeatDataset", times=2, dataset=dataset("data/coco/")),
                        dataset("data/coco/extra/"),
                    ],
                )
            ),
            test_dataloader=dict(dataset=dataset("data/coco/", "data/coco/annotations/val.json")),
            test_evaluator=[
                dict(type="CocoMetric", ann_file="data/coco/annotations/val.json"),
                dict(type="CocoMetric", ann_file="/elsewhere/data/coco/val.json"),
                dict(type="VOCMetric"),
            ],
        )
    )
    set_data_root(cfg, "/mnt/sets")
    parts = cfg.train_dataloader.dataset.datasets
    assert parts[0].dataset.data_root == "/mnt/sets/"
    assert parts[0].dataset.ann_file == "annotations/train.json"
    assert parts[0].dataset.data_prefix.img == "a/"
    assert parts[1].data_root == "/mnt/sets/"
    assert cfg.test_dataloader.dataset.ann_file == "/mnt/sets/annotations/val.json"
    assert cfg.test_evaluator[0].ann_file == "/mnt/sets/annotations/val.json"
    assert cfg.test_evaluator[1].ann_file == "/elsewhere/data/coco/val.json"
    assert cfg.data_root == "/mnt/sets/"


@pytest.mark.parametrize("root", ["data/coco", "data/coco/"])
def test_data_root_with_and_without_slash(root):
    cfg = Config(
        dict(d=dataset(root), e=dict(type="CocoMetric", ann_file="data/coco/val.json"), f=["x"])
    )
    set_data_root(cfg, "new/")
    assert (cfg.d.data_root, cfg.e.ann_file) == ("new/", "new/val.json")


def test_a_root_that_only_begins_alike_is_another_one():
    cfg = Config(dict(d=dataset("data/coco"), e=dict(ann_file="data/coco_mini/val.json")))
    set_data_root(cfg, "new")
    assert cfg.e.ann_file == "data/coco_mini/val.json"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("model", "no config of MMDetection"),
        ("qconfig", "--qconfig"),
        ("test_dataloader", "accuracy is measured"),
        ("test_evaluator", "accuracy is measured"),
    ],
)
def test_missing_part_is_named(key, hint):
    cfg = detector()
    cfg[key] = None
    with pytest.raises(ConfigError, match=f"lacks '{key}': .*{hint}"):
        complete_config(cfg)


def test_default_recipe_is_valid_and_a_given_one_stays():
    cfg = detector()
    complete_config(cfg)
    settings = CalibrationSettings.parse(cfg.calib_cfg)
    assert settings.method == "gptq"
    assert [type(step).__name__ for step in settings.steps] == ["RangeCalibration", "GPTQ"]
    cfg.calib_cfg.method = "changed"
    assert DEFAULT_CALIB["method"] == "gptq"
    complete_config(cfg)
    assert cfg.calib_cfg.method == "changed"


def test_the_default_recipe_of_float_weights_rounds_none():
    cfg = detector()
    cfg.qconfig = dict(weight=None, act=dict(num_bits=8))
    complete_config(cfg)
    settings = CalibrationSettings.parse(cfg.calib_cfg)
    assert settings.method == "mmse"
    assert [type(step).__name__ for step in settings.steps] == ["RangeCalibration"]


def hooks_of(changes: object) -> dict[str, Hook]:
    built = calibration_hooks(Config(dict(calib_hooks=changes)))
    return {type(hook).__name__: hook for hook, _ in built}


@pytest.mark.parametrize("changes", [None, {}])
def test_default_hooks(changes):
    assert set(hooks_of(changes)) == {
        "CalibrationProgressHook",
        "CalibrationLoggingHook",
        "DetectionPictureHook",
        "SaveQuantizedHook",
        "ReportHook",
    }


def test_hooks_are_changed_removed_and_added():
    @HOOKS.register_module(name="MyHook", force=True)
    class MyHook(Hook):
        pass

    hooks = hooks_of(
        dict(
            pictures=dict(num_images=9),
            progress=None,
            save=dict(filename="q.pth"),
            mine=dict(type="mmptq.MyHook"),
        )
    )
    assert CalibrationProgressHook.__name__ not in hooks
    assert hooks[DetectionPictureHook.__name__].num_images == 9
    assert hooks[SaveQuantizedHook.__name__].filename == "q.pth"
    assert "MyHook" in hooks


def test_priority_of_a_hook():
    cfg = Config(dict(calib_hooks=dict(pictures=dict(priority="HIGHEST"))))
    priorities = {type(hook): priority for hook, priority in calibration_hooks(cfg)}
    assert priorities[DetectionPictureHook] == "HIGHEST"
    assert priorities[SaveQuantizedHook] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(saves=None), "calib_hooks.saves: .*did you mean 'save'"),
        (dict(mine=dict(x=1)), "calib_hooks.mine: .*no type is given"),
        (dict(save=dict(name="q")), "calib_hooks.save.name: unknown argument"),
        (dict(mine=dict(type="NoHook")), "calib_hooks.mine.type: no hook is called 'NoHook'"),
    ],
)
def test_bad_hooks(changes, message):
    with pytest.raises(ConfigError, match=message):
        calibration_hooks(Config(dict(calib_hooks=changes)))


@pytest.mark.parametrize("given", [None, {}, dict(num_images=9), dict(seed=3, baseline=False)])
def test_partial_recipe_is_completed(given):
    cfg = detector()
    if given is not None:
        cfg.calib_cfg = given
    complete_config(cfg)
    assert cfg.calib_cfg.to_dict() == {**DEFAULT_CALIB, **(given or {})}
    assert CalibrationSettings.parse(cfg.calib_cfg).method == "gptq"


def test_steps_are_called_by_their_types():
    cfg = detector()
    measured = dict(type="mmptq.BiasCorrection", mode="measured")
    cfg.calib_cfg = dict(steps=[*DEFAULT_CALIB["steps"], measured])
    complete_config(cfg)
    method = CalibrationSettings.parse(cfg.calib_cfg).method
    assert method == "RangeCalibration+GPTQ+BiasCorrection"


def test_a_method_alone_is_not_guessed():
    cfg = detector()
    cfg.calib_cfg = dict(method="mine")
    complete_config(cfg)
    with pytest.raises(ConfigError, match="calib_cfg.steps is missing"):
        CalibrationSettings.parse(cfg.calib_cfg)


@pytest.mark.parametrize(
    "given", [None, {}, {"save": {"filename": "q.pth"}}, {"pictures": None, "save": {}}]
)
def test_packed_is_an_option_of_the_saving_hook(given):
    cfg = Config(dict(calib_hooks=given))
    save_packed(cfg)
    hooks = [hook for hook, _ in calibration_hooks(cfg)]
    (save,) = [hook for hook in hooks if isinstance(hook, SaveQuantizedHook)]
    assert save.packed and save.filename == (given or {}).get("save", {}).get(
        "filename", "quantized.pth"
    )
    assert any(isinstance(hook, DetectionPictureHook) for hook in hooks) == (
        "pictures" not in (given or {})
    )


def test_packed_without_a_checkpoint_is_refused():
    with pytest.raises(ConfigError, match="--packed: calib_hooks.save = None"):
        save_packed(Config(dict(calib_hooks=dict(save=None))))
