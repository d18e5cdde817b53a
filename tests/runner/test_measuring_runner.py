"""What a user's config says about training and trackers is neither needed nor used."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner import CalibrationRunner, MeasuringRunner
from mmptq.runner.measuring_runner import settings_named_by, training_parts
from tests.tiny_project import REPO

Make = Callable[..., CalibrationRunner]

HOOKS = """
custom_hooks = [
    dict(type="EMAHook", ema_type="ExpMomentumEMA", momentum=0.0002, priority=49),
    dict(type="YOLOXModeSwitchHook", num_last_epochs=15),
    dict(type="SyncNormHook"),
    dict(type="HookOfAPackageThatIsNotHere"),
]
default_hooks = dict(checkpoint=dict(type="NoHook"), visualization=dict(type="NoHook"))
train_cfg = dict(type="NoLoop")
visualizer = dict(vis_backends=[dict(type="LocalVisBackend"), dict(type="WandbVisBackend")])
"""

INFERENCE = """
train_cfg = optim_wrapper = param_scheduler = test_cfg = None
val_cfg = val_dataloader = val_evaluator = None
"""


@pytest.fixture
def make(tiny_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """``make(lines)``: the runner of a config that has these lines beside the tiny project's."""
    # Asking every compiler for its version takes longer than all the rest.
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)

    def run(lines: str = "", **changes: Any) -> CalibrationRunner:
        config = tmp_path / "own.py"
        config.write_text(f"_base_ = [{str(tiny_project('retinanet').config)!r}]\n{lines}\n")
        cfg = Config.fromfile(config)
        cfg.merge_from_dict(changes)
        cfg.work_dir, cfg.launcher = str(tmp_path / "run"), "none"
        # MMEngine keeps visualizers and loggers by name for the whole process.
        cfg.experiment_name = cfg.visualizer.name = tmp_path.name
        return CalibrationRunner.from_cfg(cfg)

    return run


def log_of(work_dir: Path) -> str:
    return "".join(path.read_text() for path in work_dir.glob("*/*.log"))


def rows(work_dir: Path) -> list[dict[str, Any]]:
    found = json.loads((work_dir / "results.json").read_text())["rows"]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def test_training_hooks_and_trackers_change_no_row(calibrated, tiny_project, tmp_path, monkeypatch):
    config = tmp_path / "own.py"
    config.write_text(f"_base_ = [{str(tiny_project('retinanet').config)!r}]\n{HOOKS}")
    arguments = ["quantize.py", str(config), "--work-dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(REPO / "tools/quantize.py"), run_name="__main__")
    assert rows(tmp_path / "run") == rows(calibrated("retinanet").work_dir)
    # MMDetection's own tools open what was dumped, with all that the user wrote.
    dumped = Config.fromfile(tmp_path / "run/own.py")
    assert [hook.type for hook in dumped.custom_hooks][0] == "EMAHook"
    assert dumped.train_cfg.type == "NoLoop"
    assert dumped.visualizer.vis_backends[1].type == "WandbVisBackend"


def test_what_is_left_out_is_said_once(make, tmp_path):
    make(HOOKS)
    lines = [line for line in log_of(tmp_path / "run").splitlines() if "nothing is trained" in line]
    assert len(lines) == 1
    assert "custom_hooks (EMAHook, YOLOXModeSwitchHook, SyncNormHook" in lines[0]
    assert "train_dataloader" in lines[0]


def test_inference_config_is_enough(make):
    runner = make(INFERENCE)
    runner.setup()
    assert type(runner.test_loop).__name__ == "TestLoop"
    assert training_parts(runner.cfg) == [
        "train_dataloader",
        "default_hooks (param_scheduler, checkpoint, sampler_seed, visualization)",
    ]


def test_loop_of_validation_as_the_tests(make):
    """Its hooks ask for the runner's loop of validation."""
    found = []
    for kind in ("TestLoop", "ValLoop"):
        runner = make(f"test_cfg = dict(_delete_=True, type={kind!r})")
        runner.setup()
        found.append(runner.evaluate("float"))
    assert found[0] == found[1] and type(runner.val_loop).__name__ == "ValLoop"


def test_no_train_dataloader_beside_a_calib_dataloader(make, tiny_project):
    stock = Config.fromfile(tiny_project("retinanet").float_config)
    dataset = stock.train_dataloader.dataset.dataset
    dataset.pipeline = stock.pipeline
    lines = f"{INFERENCE}train_dataloader = None\n"
    assert len(make(lines, calib_dataloader=dict(dataset=dataset)).setup().data) == 6


STOCK_RECIPE = "calib_cfg = dict(_delete_=True)\n"


@pytest.mark.parametrize("recipe", ["", "calib_cfg.update(num_images=32)"])  # as recipes' files do
def test_small_training_set_is_taken_whole(make, tmp_path, recipe):
    runner = make(STOCK_RECIPE + recipe)
    assert len(runner.setup().data) == runner.settings.num_images == 9
    lines = log_of(tmp_path / "run").splitlines()
    assert (
        len([line for line in lines if "has 9 images, fewer than the default of 32" in line]) == 1
    )


def test_number_that_is_asked_for_is_not_changed(make):
    with pytest.raises(CalibrationDataError, match="calib_cfg.num_images=9"):
        make(f"{STOCK_RECIPE}calib_cfg.update(num_images=20)").setup()
    assert len(make(f"{STOCK_RECIPE}calib_cfg.update(num_images=9)").setup().data) == 9


def test_test_runner_needs_nothing_of_training_either(tiny_project, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)
    cfg = Config.fromfile(tiny_project("retinanet").float_config)
    cfg.merge_from_dict(dict(work_dir=str(tmp_path), train_cfg=dict(_delete_=True, type="NoLoop")))
    cfg.train_dataloader = cfg.test_cfg = None
    cfg.custom_hooks = [dict(type="EMAHook")]
    cfg.launcher, cfg.experiment_name, cfg.visualizer.name = "none", tmp_path.name, tmp_path.name
    assert "bbox_mAP" in " ".join(MeasuringRunner.from_cfg(cfg).test())


@pytest.mark.parametrize("kind", ["WandbVisBackend", "MLflowVisBackend", "NoVisBackend"])
def test_trackers_are_left_out(kind, make, tmp_path):
    runner = make(
        f"visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type={kind!r})])"
    )
    assert list(runner.visualizer._vis_backends) == ["LocalVisBackend"]
    assert f"{kind} left out" in log_of(tmp_path / "run")


def test_backend_that_cannot_start_fails_no_run(make, tmp_path, monkeypatch):
    def start(_: TensorboardVisBackend) -> None:
        raise ImportError("no tensorboard here")

    monkeypatch.setattr(TensorboardVisBackend, "_init_env", start)
    runner = make(
        "keep_trackers = True\n"
        "visualizer = dict(vis_backends=[dict(type='LocalVisBackend'),"
        " dict(type='TensorboardVisBackend')])"
    )
    assert list(runner.visualizer._vis_backends) == ["LocalVisBackend"]
    assert "TensorboardVisBackend cannot start and is left out: no tensorboard" in log_of(
        tmp_path / "run"
    )


def test_model_config_stays_as_it_was_written(make, monkeypatch):
    """Heads of the DETR family write a tensor into the config that they are built from."""
    build = Runner.build_model

    def build_and_write(runner: Runner, model: ConfigDict) -> Any:
        model.backbone.update(written=[1.0])
        model.backbone.pop("written")
        model.bbox_head.loss_cls.alpha = 0.75
        return build(runner, model)

    monkeypatch.setattr(Runner, "build_model", build_and_write)
    runner = make()
    assert runner.model.model.bbox_head.loss_cls.alpha == 0.75
    assert runner.cfg.model.bbox_head.loss_cls.alpha == 0.25


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "test_dataloader = dict(persistent_workers=True)",
            "test_dataloader.num_workers = 0, test_dataloader.persistent_workers = True",
        ),
        ("test_dataloader = dict(sampler=dict(type='NoSampler'))", "test_dataloader.sampler = "),
        ("test_dataloader = dict(sampler=dict(shufle=True))", "test_dataloader.sampler = "),
        ("test_dataloader = dict(prefetch_factor=2)", "test_dataloader.prefetch_factor = 2"),
        ("test_dataloader = dict(colate_fn=1)", "test_dataloader.colate_fn = 1"),
        ("test_dataloader = dict(collate_fn=dict(type='no'))", "test_dataloader.collate_fn = "),
        ("test_dataloader = dict(batch_size=0)", "test_dataloader.batch_size = 0"),
        ("test_cfg = dict(_delete_=True, type='NoLoop')", "test_cfg.type = 'NoLoop'"),
        ("test_cfg = dict(fp17=True)", "test_cfg.fp17 = True"),
        ("test_cfg = [1]", r"test_cfg = \[1\]"),
    ],
)
def test_loader_and_loop_are_built_before_images_are_read(lines, message, make, tmp_path):
    old = tmp_path / "run/stages/statistics.pth"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    with pytest.raises(ConfigError, match=message):
        make(lines).setup()
    assert old.read_text() == "old"
    assert not (tmp_path / "run/own.py").exists()


def test_settings_that_an_error_names():
    cfg = dict(num_workers=0, sampler=dict(type="MySampler"), dataset="a set")
    assert settings_named_by(ValueError("num_workers!"), cfg, "k") == "k.num_workers = 0"
    named = settings_named_by(KeyError("no MySampler"), cfg, "k")
    assert named == "k.sampler = {'type': 'MySampler'}"
    both = settings_named_by(ValueError("odd"), cfg, "k")
    assert both == "k.num_workers = 0, k.sampler = {'type': 'MySampler'}"
    assert settings_named_by(TypeError("odd"), 3, "k") == "k = 3"
