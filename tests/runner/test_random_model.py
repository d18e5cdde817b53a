import copy

import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmptq.runner.prepare_config import wrap_model
from mmptq.runner.random_model import random_model


def test_weights_are_initialised_and_no_file_is_read(detector_cfgs, monkeypatch, caplog):
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a file is read")

    monkeypatch.setattr(CheckpointLoader, "load_checkpoint", load)
    cfg = Config(dict(model=copy.deepcopy(detector_cfgs["retinanet"]), default_scope=None))
    cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint="torchvision://resnet18")
    cfg.model.neck.init_cfg = [
        dict(type="Pretrained", checkpoint="none.pth"),
        dict(type="Constant", layer="Conv2d", val=0.5),
    ]
    wrap_model(cfg)
    before = cfg.model.to_dict()
    model = random_model(cfg)
    convs = [m for m in model.neck.modules() if isinstance(m, nn.Conv2d)]
    assert all(torch.equal(m.weight, torch.full_like(m.weight, 0.5)) for m in convs)
    assert cfg.model.to_dict() == before
    assert not caplog.records
