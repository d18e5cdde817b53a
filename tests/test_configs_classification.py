"""Every classification config says what its name says, builds, and plans without data."""

import copy
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmptq.adapters import Adapter, ClassifierAdapter, find_adapter
from mmptq.evaluation import model_cost, nominal_shape, profile_model
from mmptq.models import QConfig, QuantClassifier, Trace, build_plan
from mmptq.modules import expanded_modules
from mmptq.runner.settings import CalibrationSettings

CONFIGS = Path(__file__).resolve().parents[1] / "configs/classification"
FOUND = sorted(path.name for path in CONFIGS.glob("*.py"))
# Multiply-accumulates in millions, as published with the networks (He et al. 2016; Sandler et al.
# 2018; Liu et al. 2021, without attention's products in the first three); input size.
NETWORKS = {
    "resnet20_cifar10": (41, 32),
    "resnet56_cifar10": (125, 32),
    "resnet18_imagenet": (1814, 224),
    "resnet50_imagenet": (4089, 224),
    "mobilenetv2_imagenet": (300, 224),
    "swin_t_imagenet": (4490, 224),
}
# The others are MMDetection's or mmptq's own.
PACKAGES = {"timm_imagenet": "timm", "torchvision_imagenet": "torchvision"}
RECIPES = ("mmse", "lapq", "adaround", "brecq", "qdrop", "bitshrink")


@cache
def _load_once(name: str) -> Config:
    return Config.fromfile(CONFIGS / name)


def load(name: str) -> Config:
    return copy.deepcopy(_load_once(name))


def network(name: str) -> str:
    return re.sub(r"_w\d+a\d+.*", "", Path(name).stem)


@cache
def traced(key: str) -> tuple[QuantClassifier, Adapter, Trace]:
    init_default_scope("mmdet")
    cfg = load(next(name for name in FOUND if network(name) == key)).model
    if "backbone" in cfg:
        cfg.image_size = 64  # as large as it must be to be traced
    model = MODELS.build(cfg)
    adapter = find_adapter(model.model)
    return model, adapter, adapter.trace()


def test_the_promised_configs_are_there() -> None:
    promised = [f"resnet{n}_cifar10_w4a4_{recipe}.py" for n in (20, 56) for recipe in RECIPES]
    for name in ("resnet18", "resnet50", "mobilenetv2"):
        promised += [f"{name}_imagenet_{tail}.py" for tail in ("w8a8_mmse", "w4a4_bitshrink")]
    for name in PACKAGES:
        promised += [f"{name}_{tail}.py" for tail in ("w8a8_mmse", "w4a4_bitshrink")]
    promised += ["swin_t_imagenet_w8a8_mmse.py", "swin_t_imagenet_w6a6_mmse.py"]
    assert set(promised) <= set(FOUND)


@pytest.mark.parametrize("name", FOUND)
def test_says_what_its_name_says(name: str) -> None:
    cfg = load(name)
    found = re.fullmatch(r".*_w(\d+)a(\d+)_(\w+)", Path(name).stem)
    assert found, name
    qconfig = QConfig.parse(cfg.qconfig)
    assert (qconfig.weight.num_bits, qconfig.act.num_bits) == (int(found[1]), int(found[2]))
    assert CalibrationSettings.parse(cfg.calib_cfg).method == found[3]
    assert cfg.model.type == "mmptq.QuantClassifier"
    assert cfg.load_from
    wanted = Config.fromfile(CONFIGS / f"_base_/{network(name)}.py").model.to_dict()
    own = cfg.model.to_dict()
    assert own.pop("type") and own.pop("classifier_type") == wanted.pop("type")
    assert own == wanted


@pytest.mark.parametrize("name", FOUND)
def test_plans(name: str) -> None:
    if package := PACKAGES.get(network(name)):
        pytest.importorskip(package, exc_type=Exception, reason=f"{package} is not installed")
    model, adapter, trace = traced(network(name))
    assert isinstance(adapter, ClassifierAdapter)
    with expanded_modules(model.model):
        plan = build_plan(model.model, trace, QConfig.parse(load(name).qconfig))
    assert plan.unplanned == ()
    edges = {role: [x.name for x in plan.layers if role in x.roles] for role in ("first", "last")}
    assert {role: len(names) for role, names in edges.items()} == {"first": 1, "last": 1}
    specs = {site.name: site.spec for site in plan.sites}
    for layer in plan.layers:
        if set(layer.roles) & {"first", "last"}:
            assert layer.weight.num_bits == specs[layer.inputs[0]].num_bits == 8


@pytest.mark.parametrize("key", [key for key in NETWORKS if key != "resnet50_imagenet"])
def test_cost_of_one_image(key: str) -> None:
    model, adapter, _ = traced(key)
    cfg = load(next(name for name in FOUND if network(name) == key))
    millions, size = NETWORKS[key]
    shape = nominal_shape(cfg)
    assert shape == (size, size)
    with torch.no_grad():
        cost = model_cost(profile_model(adapter, shape))
    assert cost.macs / 1e6 == pytest.approx(millions, rel=0.02)
