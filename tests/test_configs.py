"""Every config loads, says what its name says, inherits its float config whole, and builds."""

import copy
import re
import shutil
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import mmdet
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmptq.adapters import Adapter, find_adapter
from mmptq.adapters.detector import DetectorAdapter
from mmptq.adapters.two_stage import TwoStageAdapter
from mmptq.models import QConfig, QuantDetector, Trace, build_plan
from mmptq.modules import expanded_modules
from mmptq.runner.settings import CalibrationSettings

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
FOUND = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob("*.py")
    # Those of other models: test_configs_classification.py, test_configs_recommendation.py.
    if not {"_base_", "classification", "recommendation"} & set(path.parts)
)
QUANT = sorted(path.stem for path in (CONFIGS / "_base_/quant").glob("*.py"))
CALIB = sorted(path.stem for path in (CONFIGS / "_base_/calib").glob("*.py"))
# The keys that a quantized config adds to its float one or changes there.
OWN_KEYS = {"qconfig", "calib_cfg", "calib_dataloader", "calib_hooks", "load_from"}
BACKBONES: dict[str, dict[str, Any]] = {
    "mobilenetv2": dict(type="MobileNetV2"),
    **{f"r{depth}": dict(type="ResNet", depth=depth) for depth in (18, 50, 101)},
    "swin": dict(type="SwinTransformer"),
    "digits": dict(type="ResNet", depth=18),
}
# MMDetection publishes no weights for these.
UNPUBLISHED = ("faster_rcnn/r18_", "yolox/nano_")
RECONSTRUCTION = ("adaround", "brecq", "qdrop", "bitshrink")
LEARNED = ("qdrop", "bitshrink")
FAMILIES = {
    "retinanet": ("RetinaNet", DetectorAdapter),
    "faster_rcnn": ("FasterRCNN", TwoStageAdapter),
    "yolox": ("YOLOX", DetectorAdapter),
    "rtmdet": ("RTMDet", DetectorAdapter),
    "ssd": ("SingleStageDetector", DetectorAdapter),
    "dino": ("DINO", DetectorAdapter),
}
RESNETS = ("retinanet", "faster_rcnn")
# Embeddings of queries, which are read whole, and of labels, which training alone reads.
TABLES = {"query_embedding", "dn_query_generator.label_embedding"}


@cache
def _load_once(path: Path) -> Config:
    return Config.fromfile(path)


def load(name: str) -> Config:
    return copy.deepcopy(_load_once(CONFIGS / name))


def load_float(name: str) -> Config:
    return copy.deepcopy(_load_once(float_config(name)))


def bits_in(stem: str) -> tuple[int, int]:
    found = re.search(r"(?:^|_)w(\d+)a(\d+)(?:_|$)", stem)
    assert found, f"{stem} does not say its bits"
    return int(found[1]), int(found[2])


def family_of(name: str) -> str:
    found = [family for family in FAMILIES if family in name]
    assert len(found) == 1, name
    return found[0]


def float_config(name: str) -> Path:
    """The float config that ``name`` inherits, by the naming rules of configs/."""
    folder, stem = Path(name).parent, Path(name).stem
    model = re.sub(r"(_detr)?_w\d+a\d+.*", "", stem)  # behind the model a preset may stand
    tail = {"demo": "_digits", "bccd": "_bccd", "deeppcb": "_deeppcb"}.get(folder.name, "")
    return CONFIGS / folder / "_base_" / f"{model}{tail}.py"


def build_detector(cfg: Config) -> QuantDetector:
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    # Without it MMDetection 3.3 cannot predict with an SSD either.
    head = getattr(model.model, "bbox_head", None)
    if type(head).__name__ == "SSDHead" and not hasattr(head, "loss_cls"):
        head.loss_cls = None
    return model


@lru_cache(maxsize=1)  # configs are sorted: those of one model follow each other
def traced(float_path: Path) -> tuple[QuantDetector, Adapter, Trace]:
    """The first config of a float model, built; that the others' models equal it, a test says."""
    name = next(name for name in FOUND if float_config(name) == float_path)
    model = build_detector(load(name))
    adapter = find_adapter(model.model)
    return model, adapter, adapter.trace()


def test_the_promised_configs_are_there() -> None:
    promised = [
        f"{family}/{depth}_{bits}.py"
        for family in RESNETS
        for depth in ("r18", "r50", "r101")
        for bits in ("w8a8", "w6a6", "w4a4", "w2a4")
    ]
    promised += [f"yolox/nano_{bits}.py" for bits in ("w8a8", "w6a6", "w4a8", "w4a4")]
    promised += [f"rtmdet/tiny_{bits}.py" for bits in ("w8a8", "w4a8", "w4a4")]
    promised.append("ssd/ssdlite_mobilenetv2_w8a8.py")
    promised += [f"demo/retinanet_swin_{bits}_mmse.py" for bits in ("w8a8", "w6a6", "w4a4")]
    promised.append("demo/retinanet_swin_w4a4_gptq.py")
    promised += [f"demo/dino_{bits}_mmse.py" for bits in ("w8a8", "w4a4", "detr_w4a4")]
    for family in RESNETS:
        for method in ("minmax", "mmse"):
            promised += [f"demo/{family}_{bits}_{method}.py" for bits in ("w8a8", "w4a4")]
            promised += [f"bccd/{family}_r18_{b}_{method}.py" for b in ("w8a8", "w6a6", "w4a4")]
        start = f"deeppcb/{family}_mobilenetv2"
        promised += [f"{start}_{bits}_mmse.py" for bits in ("w8a8", "w6a6", "w4a8", "w4a4")]
        promised += [f"{start}_{bits}_gptq.py" for bits in ("w6a6", "w4a8", "w4a4")]
        promised += [f"{start}_{bits}_minmax.py" for bits in ("w8a8", "w6a6", "w4a4")]
        promised += [f"{start}_{b}_{m}.py" for b in ("w4a4", "w3a3", "w2a4") for m in LEARNED]
        promised += [f"{start}_w4a4_lapq.py", f"deeppcb/{family}_r18_w4a4_lapq.py"]
        promised += [f"deeppcb/{family}_r18_{bits}_mmse.py" for bits in ("w8a8", "w4a4")]
        for method in RECONSTRUCTION:
            promised += [f"{family}/r50_{b}_{method}.py" for b in ("w4a4", "w2a4", "w3a3")]
            promised.append(f"demo/{family}_w4a4_{method}.py")
        promised += [f"{family}/r50_w4a4_lapq_bitshrink.py", f"{family}/r50_w4a4_lapq.py"]
    assert set(promised) <= set(FOUND)


@pytest.mark.parametrize("name", QUANT)
def test_quant_preset(name: str) -> None:
    cfg = load(f"_base_/quant/{name}.py")
    assert set(cfg.keys()) == {"qconfig"}
    qconfig = QConfig.parse(cfg.qconfig)
    # A CPU's weights are stored in 8 bits, of which it can use 7.
    expected = (7, 8) if name == "w8a8_cpu" else bits_in(name)
    assert (qconfig.weight.num_bits, qconfig.act.num_bits) == expected
    assert qconfig.scope == "full" and qconfig.act.per_channel == "depthwise"
    if name == "w8a8_tensorrt":
        assert qconfig.act.symmetric and qconfig.act.type == "SignedQuantizer"


@pytest.mark.parametrize("name", CALIB)
def test_calib_preset(name: str) -> None:
    cfg = load(f"_base_/calib/{name}.py")
    assert set(cfg.keys()) == {"calib_cfg"}
    assert cfg.calib_cfg.method == name.removesuffix("_fast")
    assert CalibrationSettings.parse(cfg.calib_cfg).steps


@pytest.mark.parametrize("name", RECONSTRUCTION)
def test_fast_differs_in_size_only(name: str) -> None:
    published, fast = (load(f"_base_/calib/{n}.py").calib_cfg for n in (name, f"{name}_fast"))
    assert fast.pop("num_images") < published.pop("num_images")
    for a, b in zip(published.steps[1:], fast.steps[1:], strict=True):
        assert (a.pop("preset"), b.pop("preset")) == ("published", "fast")
    assert published == fast


@pytest.mark.parametrize("family", RESNETS)
@pytest.mark.parametrize("bits", ["w4a4", "w2a4"])
def test_the_command_that_people_try_first_runs_the_best_recipe(family: str, bits: str) -> None:
    plain = load(f"{family}/r50_{bits}.py")
    assert plain.calib_cfg == load("_base_/calib/bitshrink_fast.py").calib_cfg


@pytest.mark.parametrize("name", FOUND)
def test_says_what_its_name_says(name: str) -> None:
    cfg = load(name)
    qconfig = QConfig.parse(cfg.qconfig)
    assert (qconfig.weight.num_bits, qconfig.act.num_bits) == bits_in(Path(name).stem)
    method = re.sub(r".*?w\d+a\d+_?", "", Path(name).stem)
    settings = CalibrationSettings.parse(cfg.calib_cfg)  # builds the steps and their observers
    if method:
        assert settings.method == method
    assert cfg.model.detector_type == FAMILIES[family_of(name)][0]
    if family_of(name) in RESNETS:
        words = float_config(name).stem.split("_")
        backbone = next(backbone for word, backbone in BACKBONES.items() if word in words)
        assert {key: cfg.model.backbone[key] for key in backbone} == backbone
    assert bool(cfg.load_from) != name.startswith(UNPUBLISHED)


@pytest.mark.parametrize("name", FOUND)
def test_inherits_its_float_config_whole(name: str) -> None:
    ours, stock = load(name).to_dict(), load_float(name).to_dict()
    detector_type = ours["model"].pop("detector_type")
    assert ours["model"].pop("type") == "mmptq.QuantDetector"
    assert stock["model"].pop("type") == detector_type
    for cfg in (ours, stock):
        for key in OWN_KEYS:
            cfg.pop(key, None)
    assert ours == stock


@pytest.mark.parametrize("name", FOUND)
def test_builds_and_plans(name: str) -> None:
    model, adapter, trace = traced(float_config(name))
    assert isinstance(model, QuantDetector)
    detector_type, adapter_type = FAMILIES[family_of(name)]
    assert type(model.model).__name__ == detector_type
    assert type(adapter) is adapter_type
    qconfig = QConfig.parse(load(name).qconfig)
    with expanded_modules(model.model):
        plan = build_plan(model.model, trace, qconfig)
    assert set(plan.unplanned) <= TABLES
    weight_bits, act_bits = bits_in(Path(name).stem)
    specs = {site.name: site.spec for site in plan.sites}
    own = [x for x in qconfig.overrides if not x.key.startswith("scope.")]  # of a preset for DETRs
    for layer in plan.layers:
        if any(override.matches(layer.name, layer.roles) for override in own):
            continue  # see test_detr.py
        edge = {"first", "last"} & set(layer.roles)
        if layer.kind != "Operand":  # it has no weight
            expected = max(8, weight_bits) if edge else weight_bits
            assert layer.weight.num_bits == expected, layer.name
            assert layer.weight.per_channel
        for site in layer.inputs:
            assert specs[site].num_bits == (max(8, act_bits) if edge else act_bits), layer.name
    assert any("first" in layer.roles for layer in plan.layers)
    assert any("last" in layer.roles for layer in plan.layers)


@pytest.mark.parametrize("name", ["retinanet/r18_w4a4.py", "demo/faster_rcnn_w4a4_mmse.py"])
def test_scope_from_the_command_line_leaves_the_heads_in_float(name: str) -> None:
    cfg = load(name)
    cfg.merge_from_dict({"qconfig.scope": "backbone_neck"})
    model, _, trace = traced(float_config(name))
    plan = build_plan(model.model, trace, QConfig.parse(cfg.qconfig))
    by_head = {layer.weight is None for layer in plan.layers if "head" in layer.roles}
    by_body = {layer.weight is None for layer in plan.layers if "head" not in layer.roles}
    assert (by_head, by_body) == ({True}, {False})


@pytest.mark.parametrize("name", ["retinanet/r50_w4a4.py", "demo/retinanet_w8a8_minmax.py"])
def test_dumped_config_is_the_same(name: str, tmp_path: Path) -> None:
    """The runner writes the whole config to the work directory; that file must do as well."""
    cfg = load(name)
    cfg.dump(tmp_path / "whole.py")
    assert Config.fromfile(tmp_path / "whole.py").to_dict() == cfg.to_dict()


def _metafile(family: str) -> dict[str, dict[str, Any]]:
    path = Path(mmdet.__file__).parent / ".mim/configs" / family / "metafile.yml"
    models = yaml.safe_load(path.read_text())["Models"]
    return {Path(model["Config"]).name: model for model in models}


COCO_FLOAT = [
    f"{family}/_base_/{path.name}"
    for family in FAMILIES
    for path in sorted((CONFIGS / family / "_base_").glob("*.py"))
    if not f"{family}/{path.stem}_".startswith(UNPUBLISHED)
]


@pytest.mark.parametrize("name", COCO_FLOAT)
def test_official_weights_are_those_that_mmdetection_lists(name: str) -> None:
    text = (CONFIGS / name).read_text()
    stock = re.search(r'_base_ = "mmdet::([\w/.-]+)"', text)[1]
    listed = _metafile(family_of(name))[Path(stock).name]
    assert load(name).load_from == listed["Weights"]
    stated = float(re.search(r"box AP ([\d.]+)", text)[1])
    assert stated == listed["Results"][0]["Metrics"]["box AP"]


OWN_CONFIG = ROOT / "docs/howto/own_config.md"
OWN_CONFIG_EXAMPLES = re.findall(r"```python\n(.*?)```", OWN_CONFIG.read_text(), re.DOTALL)


@pytest.mark.parametrize("index", range(len(OWN_CONFIG_EXAMPLES)))
def test_examples_of_the_own_config_guide(index: int, tmp_path: Path) -> None:
    """Each is a whole config beside a user's float one, in a folder under configs/."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copytree(CONFIGS / "_base_", tmp_path / "_base_")
    (folder / "my_retinanet.py").write_text(
        '_base_ = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"'
    )
    (folder / "example.py").write_text(OWN_CONFIG_EXAMPLES[index])
    cfg = Config.fromfile(folder / "example.py")
    assert cfg.load_from == "my_retinanet.pth"
    assert cfg.calib_cfg.steps
    model = build_detector(cfg)
    plan = find_adapter(model.model).plan(QConfig.parse(cfg.qconfig))
    assert isinstance(model, QuantDetector)
    assert plan.layers
