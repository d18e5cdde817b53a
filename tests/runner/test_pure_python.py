"""Configs in pure Python, whose types are classes and which have no default scope."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from mmcv.ops import nms
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.models.detectors import RetinaNet
from mmengine.config import Config
from torch import nn

from mmptq.evaluation import nominal_shape
from mmptq.fileio import plain
from mmptq.registry import find_class, type_name
from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import name_types
from tests.tiny_project import REPO

RUNTIME = """
from mmengine.hooks import CheckpointHook, IterTimerHook, LoggerHook
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend
from mmdet.visualization import DetLocalVisualizer

default_scope = None
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=50),
    checkpoint=dict(type=CheckpointHook, interval=1),
)
log_processor = dict(type=LogProcessor, window_size=50, by_epoch=True)
visualizer = dict(
    type=DetLocalVisualizer, vis_backends=[dict(type=LocalVisBackend)], name="pure_python"
)
"""

# The detector of the tiny project, key by key.
CONFIG = """
from mmengine.config import read_base

with read_base():
    from .runtime import *

from mmcv.ops import nms
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset.sampler import DefaultSampler
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from torch.nn import BatchNorm2d
from torch.optim import SGD
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, Resize
from mmdet.evaluation import CocoMetric
from mmdet.models.backbones import ResNet
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import RetinaHead
from mmdet.models.detectors import RetinaNet
from mmdet.models.losses import FocalLoss, L1Loss
from mmdet.models.necks import FPN
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.models.task_modules.samplers import PseudoSampler

model = dict(
    type=RetinaNet,
    data_preprocessor=dict(
        type=DetDataPreprocessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type=ResNet, depth=18, base_channels=8, stem_channels=8, num_stages=4,
        out_indices=(0, 1, 2, 3), frozen_stages=1, norm_cfg=dict(type=BatchNorm2d),
        norm_eval=True, style="pytorch",
    ),
    neck=dict(
        type=FPN, in_channels=[8, 16, 32, 64], out_channels=16, start_level=1,
        add_extra_convs="on_input", num_outs=5,
    ),
    bbox_head=dict(
        type=RetinaHead, num_classes=4, in_channels=16, feat_channels=16, stacked_convs=2,
        anchor_generator=dict(
            type=AnchorGenerator, octave_base_scale=2, scales_per_octave=1,
            ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(
            type=DeltaXYWHBBoxCoder, target_means=[0.0] * 4, target_stds=[1.0] * 4
        ),
        loss_cls=dict(type=FocalLoss, use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type=L1Loss),
    ),
    train_cfg=dict(
        assigner=dict(
            type=MaxIoUAssigner, pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1
        ),
        sampler=dict(type=PseudoSampler),
        allowed_border=-1, pos_weight=-1, debug=False,
    ),
    test_cfg=dict(
        nms_pre=100, min_bbox_size=0, score_thr=0.05, nms=dict(type=nms, iou_threshold=0.5),
        max_per_img=20,
    ),
)
data_root = {root!r}
pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(96, 96), keep_ratio=True),
    dict(type=LoadAnnotations, with_bbox=True),
    dict(
        type=PackDetInputs,
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
metainfo = dict(classes=("ant", "bee", "cat", "dog"))
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=CocoDataset, data_root=data_root, metainfo=metainfo, ann_file="train.json",
        data_prefix=dict(img="train/"), filter_cfg=dict(filter_empty_gt=True), pipeline=pipeline,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=CocoDataset, data_root=data_root, metainfo=metainfo, ann_file="val.json",
        data_prefix=dict(img="val/"), test_mode=True, pipeline=pipeline,
    ),
)
test_evaluator = dict(type=CocoMetric, ann_file=data_root + "val.json", metric="bbox")
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.02))
custom_hooks = [dict(type=EMAHook, momentum=0.0002)]
"""


@pytest.fixture(scope="module")
def config(tiny_project: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project's detector and data as a pure-Python config."""
    folder = tmp_path_factory.mktemp("pure_python")
    (folder / "runtime.py").write_text(RUNTIME)
    path = folder / "pure.py"
    path.write_text(CONFIG.format(root=f"{tiny_project('retinanet').root}/"))
    return path


def run(monkeypatch: pytest.MonkeyPatch, tool: str, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    runpy.run_path(str(REPO / "tools" / tool), run_name="__main__")


def test_it_is_quantized_as_the_text_config_and_reloads(
    config, calibrated, tiny_project, tmp_path, monkeypatch
):
    wanted, base = calibrated("retinanet"), REPO / "configs/_base_"
    options = ["--qconfig", base / "quant/w8a8.py", "--recipe", base / "calib/mmse.py"]
    checkpoint = ["--checkpoint", tiny_project("retinanet").checkpoint]
    images = ["--cfg-options", "calib_cfg.num_images=6"]
    work_dir = tmp_path / "run"
    run(monkeypatch, "quantize.py", config, *options, *checkpoint, "--work-dir", work_dir, *images)
    rows = json.loads((work_dir / "results.json").read_text())["rows"]
    old = json.loads((wanted.work_dir / "results.json").read_text())["rows"]
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in old]
    assert list((work_dir / "pictures").glob("*.jpg"))
    # The config that was dumped opens what was saved; it names MMDetection's classes.
    dumped = Config.fromfile(work_dir / "pure.py")
    assert dumped.model.detector_type == "mmdet.models.detectors.retinanet.RetinaNet"
    out = tmp_path / "metrics.json"
    run(
        monkeypatch, "test.py", work_dir / "pure.py", work_dir / "quantized.pth",
        "--work-dir", tmp_path / "test", "--out", out,
    )  # fmt: skip
    found = {key.rpartition("/")[2]: v for key, v in json.loads(out.read_text()).items()}
    assert {key: found[key] for key in wanted.metrics} == wanted.metrics


def test_dry_run(config, monkeypatch, capsys):
    qconfig = REPO / "configs/_base_/quant/w8a8.py"
    run(monkeypatch, "quantize.py", config, "--qconfig", qconfig, "--dry-run")
    assert "activation quantizers" in capsys.readouterr().out


def test_types_become_names(config):
    cfg = read_config(str(config))
    assert cfg.model.backbone.norm_cfg.type == "torch.nn.modules.batchnorm.BatchNorm2d"
    assert cfg.train_dataloader.dataset.pipeline[2].type == (
        "mmdet.datasets.transforms.loading.LoadAnnotations"
    )
    # mmdet.models.losses.smooth_l1_loss is a function there.
    assert cfg.model.bbox_head.loss_bbox.type == "mmdet.models.losses.L1Loss"
    # mmcv evaluates this name beside its operators.
    assert cfg.model.test_cfg.nms.type == "nms"
    assert nominal_shape(cfg) == (96, 96)
    assert json.loads(json.dumps(plain(cfg.model)))["type"].endswith("RetinaNet")
    assert Config.fromstring(cfg.pretty_text, ".py").model == cfg.model


def test_class_without_a_path_stays():
    class Local(nn.Module):
        pass

    cfg = Config(dict(model=dict(type=Local, parts=[dict(type=nn.ReLU), (dict(type=nms),)])))
    name_types(cfg)
    assert cfg.model.type is Local
    assert cfg.model.parts[0].type == "torch.nn.modules.activation.ReLU"
    assert cfg.model.parts[1][0].type == "nms"


def test_bare_name_of_a_type():
    assert type_name(dict(type="mmdet.RetinaNet")) == "RetinaNet"
    assert type_name(RetinaNet) == type_name("a.b.RetinaNet") == "RetinaNet"
    assert type_name(dict(type=LoadAnnotations)) == "LoadAnnotations"
    assert type_name(dict(a=1)) == type_name({}) == ""


def test_class_behind_a_name():
    from mmengine.registry import MODELS

    for kind in (RetinaNet, "mmdet.RetinaNet", "mmdet.models.detectors.retinanet.RetinaNet"):
        assert find_class(MODELS, kind) is RetinaNet
    assert find_class(MODELS, "RetinaNet", "mmdet") is RetinaNet
    assert find_class(MODELS, "no.Such") is None
