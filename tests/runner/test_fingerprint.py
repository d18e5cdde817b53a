import json

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmptq.runner.fingerprint import stage_fingerprint


def config(**changes: object) -> Config:
    dataset = dict(type="CocoDataset", ann_file="a.json", pipeline=[dict(type="LoadImageFromFile")])
    cfg = Config(
        dict(
            model=dict(type="RetinaNet", test_cfg=dict(score_thr=0.05)),
            qconfig=dict(weight=dict(num_bits=4)),
            calib_cfg=dict(method="mmse", num_images=4, steps=[dict(type="RangeCalibration")]),
            train_dataloader=dict(batch_size=8, dataset=dataset),
            test_dataloader=dict(batch_size=1, num_workers=2, dataset=dataset),
            test_evaluator=dict(type="CocoMetric"),
            optim_wrapper=dict(lr=1.0),
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def fingerprint(cfg: Config, seed: int = 0) -> dict:
    torch.manual_seed(seed)
    return stage_fingerprint(cfg, "float.pth", nn.Linear(2, 2))


def test_it_is_json():
    found = fingerprint(config())
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "change",
    [
        {"qconfig.weight.num_bits": 5},
        {"calib_cfg.num_images": 5},
        {"calib_cfg.seed": 1},
        {"model.test_cfg.score_thr": 0.1},
        {"train_dataloader.dataset.ann_file": "b.json"},
        {"test_dataloader.dataset.ann_file": "b.json"},
        {"test_dataloader.batch_size": 2},
        {"test_evaluator.metric": "bbox"},
    ],
)
def test_what_changes_results_counts(change):
    assert fingerprint(config(**change)) != fingerprint(config())


@pytest.mark.parametrize(
    "change",
    [
        {"calib_cfg.eval_float": False},
        {"calib_cfg.baseline": False},
        {"calib_cfg.cache_gb": 1.0},
        {"test_dataloader.num_workers": 0},
        {"test_dataloader.persistent_workers": False},
        {"train_dataloader.batch_size": 2},
        {"optim_wrapper.lr": 2.0},
        {"work_dir": "elsewhere"},
    ],
)
def test_what_does_not_may_change(change):
    assert fingerprint(config(**change)) == fingerprint(config())


def test_weights_count():
    assert fingerprint(config(), seed=0) == fingerprint(config(), seed=0)
    assert fingerprint(config(), seed=0) != fingerprint(config(), seed=1)
