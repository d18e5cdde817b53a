"""mmptq.apis: the same result as the command's, from a config, a built model, any classifier."""

import copy
from typing import Any

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mmptq.algorithms.base import Step
from mmptq.apis import QuantResult, quantize
from mmptq.errors import ConfigError, MmptqError
from mmptq.registry import STEPS
from mmptq.runner.calib_dataset import calibration_dataset_cfg
from tests.tiny_project import NUM_TRAIN, REPO

W4A4 = {"weight": {"num_bits": 4}, "act": {"num_bits": 4}}


def assert_same_state(found: nn.Module, wanted: nn.Module) -> None:
    states = [model.state_dict() for model in (found, wanted)]
    assert states[0].keys() == states[1].keys()
    assert [k for k in states[0] if not torch.equal(states[0][k], states[1][k])] == []


@pytest.fixture(scope="module")
def from_config(tiny_project: Any) -> QuantResult:
    return quantize(tiny_project("retinanet").config)


def test_a_config_gives_what_the_command_gives(from_config, calibrated):
    wanted = calibrated("retinanet")
    assert_same_state(from_config.model, wanted.runner.model)
    metrics = [row.metrics for row in from_config.results.rows]
    assert metrics == [row.metrics for row in wanted.results.rows]
    assert from_config.table == from_config.results.to_markdown()


def test_saved_checkpoint_opens_in_mmdetection(from_config, tiny_project, tmp_path):
    project, path = tiny_project("retinanet"), from_config.save(tmp_path / "q.pth")
    model = init_detector(str(project.config), str(path), device="cpu")
    assert_same_state(model, from_config.model)


def test_work_dir_keeps_what_the_command_keeps(tiny_project, calibrated, tmp_path):
    project = tiny_project("retinanet")
    recipe = project.load(tmp_path).calib_cfg.to_dict()
    given = copy.deepcopy(recipe)
    found = quantize(
        project.float_config,
        checkpoint=project.checkpoint,
        qconfig=REPO / "configs/_base_/quant/w8a8.py",
        recipe=recipe,
        work_dir=tmp_path,
    )
    assert_same_state(found.model, calibrated("retinanet").runner.model)
    assert {"quantized.pth", "results.json", "stages"} <= {p.name for p in tmp_path.iterdir()}
    assert recipe == given


def test_a_built_detector_gives_what_its_config_gives(tiny_project, tmp_path):
    """On all calibration images, whose order does not change a bit."""
    project = tiny_project("retinanet")
    cfg = project.load(tmp_path)
    recipe = {**cfg.calib_cfg, "num_images": NUM_TRAIN, "eval_float": False, "baseline": False}
    wanted = quantize(cfg, recipe=recipe)
    model = init_detector(str(project.float_config), str(project.checkpoint), device="cpu")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    init_default_scope("mmdet")
    images = DATASETS.build(calibration_dataset_cfg(cfg))
    loader = DataLoader(images, batch_size=2, collate_fn=pseudo_collate)
    found = quantize(model, data=loader, qconfig=cfg.qconfig.to_dict(), recipe=recipe)
    scales = {k: v for k, v in wanted.model.state_dict().items() if k.endswith("scale")}
    assert scales
    state = found.model.state_dict()
    assert [k for k, v in scales.items() if not torch.equal(v, state[k])] == []
    assert found.results.rows[-1].metrics == {}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# -- any classifier -------------------------------------------------------------------------------


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(20, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def loader_of(*tensors: Tensor) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*tensors), batch_size=8)


@pytest.mark.parametrize("labelled", [True, False])
def test_any_classifier(labelled, net, images):
    with torch.no_grad():
        logits = net(images)
    labels = logits.argmax(1)

    def agreement(model: nn.Module) -> dict[str, float]:
        return {"top1": 100 * (model(images).argmax(1) == labels).float().mean().item()}

    data = loader_of(images, labels) if labelled else (batch for (batch,) in loader_of(images))
    eight = {"weight": {"num_bits": 8}, "act": {"num_bits": 8}}
    found = quantize(net, data=data, qconfig=eight, evaluate=agreement)
    assert [row.method for row in found.results.rows] == ["float", "minmax", "gptq"]
    assert found.results.rows[0].metrics == {"top1": 100.0}
    assert found.results.rows[-1].metrics == agreement(found.model)
    with torch.no_grad():
        error = (found.model(images) - logits).norm() / logits.norm()
    assert 0 < error < 0.05


def test_a_recipe_that_reads_labels(net, images):
    labels = torch.zeros(len(images), dtype=torch.long)
    found = quantize(
        net, data=loader_of(images, labels), qconfig=W4A4, recipe="mmptq::_base_/calib/lapq.py"
    )
    assert found.results.calibration["labels"] is True


def test_an_exported_classifier_says_nothing_of_preprocessing(net, images, tmp_path):
    onnx = pytest.importorskip("onnx")
    found = quantize(net, data=loader_of(images), qconfig="mmptq::_base_/quant/w8a8.py")
    checked = found.export(tmp_path / "net.onnx", target="onnxruntime", num_images=2)
    assert checked.images == 2
    metadata = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert not any("resize" in value or "to_float" in value for value in metadata.values())
    with pytest.raises(ConfigError, match="target = 'tflite': must be one of"):
        found.export(tmp_path / "net.tflite", target="tflite")


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(qconfig=None), "qconfig: is missing"),
        (dict(qconfig=3), "qconfig = 3: must be a dict or a config file"),
        (dict(qconfig="mmptq::_base_/calib/mmse.py"), "qconfig = .*the file has no qconfig"),
        (dict(recipe="none.py"), "no config file none.py"),
        (dict(data=None), "data = None: a built model needs a data loader"),
        (dict(data=[]), "data: yields no batch"),
        (dict(data=[torch.zeros(2, 3)]), r"data: yields a tensor of shape \(2, 3\)"),
        (dict(data=[{"image": 1}]), "data: yields a dict"),
        (dict(checkpoint="a.pth"), "checkpoint: a built model has its weights"),
        (dict(evaluate=lambda model: 3), "evaluate: returned 3"),
    ],
)
def test_bad_argument_of_a_built_model(changes, message, net, images):
    with pytest.raises(MmptqError, match=message):
        quantize(net, **{"data": loader_of(images), "qconfig": W4A4, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(data=[1]), "data: is a list; for a config it is the folder"),
        (dict(evaluate=len), "evaluate: a config is measured by its test_evaluator"),
    ],
)
def test_bad_argument_of_a_config(changes, message, tiny_project):
    with pytest.raises(ConfigError, match=message):
        quantize(tiny_project("retinanet").config, **changes)


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (dict(type="MixedPrecision", max_drop=1.0), r"MixedPrecision\.max_drop"),
        (dict(type="ReadsAccuracy", least=70.0), r"ReadsAccuracy\.least"),
        (dict(type="ReadsAccuracy"), "ReadsAccuracy"),
    ],
)
def test_a_step_that_reads_the_accuracy_names_its_own_key(step, named, net, images, monkeypatch):
    monkeypatch.setitem(STEPS.module_dict, "ReadsAccuracy", ReadsAccuracy)
    recipe = dict(method="by_accuracy", steps=[step])
    with pytest.raises(ConfigError, match=f"^{named}: nothing measures the model; give evaluate="):
        quantize(net, data=loader_of(images), qconfig=W4A4, recipe=recipe)


class ReadsAccuracy(Step):
    """Always measures; with ``least``, for its sake."""

    reads_accuracy = True  # type: ignore[assignment]

    def __init__(self, least: float | None = None) -> None:
        self.least = least

    @property
    def accuracy_key(self) -> str:
        return "" if self.least is None else "least"

    def run(self, context: Any) -> None:
        raise AssertionError("refused before")


def test_neither_config_nor_model():
    with pytest.raises(ConfigError, match="config_or_model: is a int"):
        quantize(3)  # type: ignore[arg-type]


def test_a_quantized_model_is_refused(from_config):
    data = [{"inputs": [torch.zeros(3, 8, 8)], "data_samples": [None]}]
    with pytest.raises(ConfigError, match="config_or_model: is a QuantModel already"):
        quantize(from_config.model, data=data, qconfig=W4A4)
