"""Fixtures that several folders share: small detectors of stock MMDetection types."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.models import QConfig, QuantDetector
from mmptq.runner import CalibrationRunner
from tests.tiny_project import Calibrated, TinyProject, make_project

# Small tensors: on a busy machine a second thread costs up to ten times what it saves.
torch.set_num_threads(1)

_PREPROCESSOR = dict(
    type="DetDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_size_divisor=32,
)
_BACKBONE = dict(
    type="ResNet",
    depth=18,
    base_channels=8,
    stem_channels=8,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    frozen_stages=1,
    norm_cfg=dict(type="BN", requires_grad=True),
    norm_eval=True,
    style="pytorch",
)
_DELTAS = dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
_RCNN_TEST = dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=20)

RETINANET: dict[str, Any] = dict(
    type="RetinaNet",
    data_preprocessor=_PREPROCESSOR,
    backbone=_BACKBONE,
    neck=dict(
        type="FPN",
        in_channels=[8, 16, 32, 64],
        out_channels=16,
        start_level=1,
        add_extra_convs="on_output",
        num_outs=5,
    ),
    bbox_head=dict(
        type="RetinaHead",
        num_classes=4,
        in_channels=16,
        stacked_convs=2,
        feat_channels=16,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=4,
            scales_per_octave=1,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=_DELTAS,
    ),
    test_cfg=dict(
        nms_pre=100,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type="nms", iou_threshold=0.5),
        max_per_img=20,
    ),
)

FASTER_RCNN: dict[str, Any] = dict(
    type="FasterRCNN",
    data_preprocessor=_PREPROCESSOR,
    backbone=_BACKBONE,
    neck=dict(type="FPN", in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
    rpn_head=dict(
        type="RPNHead",
        in_channels=16,
        feat_channels=16,
        anchor_generator=dict(
            type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder=_DELTAS,
    ),
    roi_head=dict(
        type="StandardRoIHead",
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
            out_channels=16,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type="Shared2FCBBoxHead",
            in_channels=16,
            fc_out_channels=32,
            roi_feat_size=7,
            num_classes=4,
            bbox_coder=_DELTAS,
            reg_class_agnostic=False,
        ),
    ),
    train_cfg=None,
    test_cfg=dict(
        rpn=dict(
            nms_pre=50, max_per_img=20, min_bbox_size=0, nms=dict(type="nms", iou_threshold=0.7)
        ),
        rcnn=_RCNN_TEST,
    ),
)

DETECTORS = {"retinanet": ConfigDict(RETINANET), "faster_rcnn": ConfigDict(FASTER_RCNN)}


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights as after some training: signals keep their size, norms have statistics."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            noise = torch.randn(module.weight.shape, generator=generator)
            module.weight.copy_(noise * (1.5 / fan_in) ** 0.5)
            if module.bias is not None:
                module.bias.copy_(uniform(module.bias, -0.1, 0.1))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.copy_(uniform(module.weight, 0.5, 1.5))
            module.bias.copy_(uniform(module.bias, -0.3, 0.3))
            module.running_mean.copy_(uniform(module.running_mean, -0.3, 0.3))
            module.running_var.copy_(uniform(module.running_var, 0.5, 1.5))
    return model


@pytest.fixture(scope="session")
def detector_cfgs() -> dict[str, dict[str, Any]]:
    """Configs of the small detectors by name; copy before changing."""
    return DETECTORS


@pytest.fixture(scope="session")
def _float_detectors() -> dict[str, nn.Module]:
    return {
        name: randomise(MODELS.build(ConfigDict(**copy.deepcopy(cfg), _scope_="mmdet"))).eval()
        for name, cfg in DETECTORS.items()
    }


@pytest.fixture
def make_detector(_float_detectors: dict[str, nn.Module]) -> Callable[[str], nn.Module]:
    """``make_detector('retinanet' | 'faster_rcnn')``: a float detector of one's own, eval mode."""
    return lambda name: copy.deepcopy(_float_detectors[name])


@pytest.fixture
def make_wrapped(make_detector: Callable[[str], nn.Module]) -> Callable[..., QuantDetector]:
    """``make_wrapped(name, trained=True)``: its wrapper, with the same or with fresh weights."""

    def make(name: str, trained: bool = True) -> QuantDetector:
        cfg = copy.deepcopy(DETECTORS[name])
        model = QuantDetector(detector_type=cfg.pop("type"), **cfg).eval()
        if trained:
            model.load_state_dict(make_detector(name).state_dict())
        return model

    return make


@pytest.fixture
def make_quantized(
    make_wrapped: Callable[..., QuantDetector], image: Tensor
) -> Callable[..., QuantDetector]:
    """``make_quantized(name, **qconfig)``: prepared, and given min-max ranges on ``image``."""

    def make(name: str, **qconfig: Any) -> QuantDetector:
        model = make_wrapped(name)
        model.prepare(find_adapter(model.model).plan(QConfig.parse(qconfig)))
        calibrate_min_max(model, image)
        return model

    return make


@torch.no_grad()
def calibrate_min_max(model: QuantDetector, image: Tensor) -> None:
    """Give every quantizer the range of what it sees in one pass."""
    for name, quantizer in model.weight_quantizers().items():
        weight = model.model.get_submodule(name).weight
        axis = quantizer.ch_axis
        rows = weight[None] if axis is None else weight.movedim(axis, 0)
        rows = rows.flatten(1)
        shape = quantizer.scale.shape
        quantizer.set_range(rows.amin(1).reshape(shape), rows.amax(1).reshape(shape))
        quantizer.enabled = False
    seen: dict[Any, list[Tensor]] = {}

    def look(layer: Any, args: tuple[Tensor, ...]) -> None:
        if layer.next_reader is not None:
            seen.setdefault(layer.next_reader, []).append(torch.stack(args[0].aminmax()))

    handles = [layer.register_forward_pre_hook(look) for _, layer in model.quant_layers()]
    model.start_pass()
    find_adapter(model.model).raw_outputs(image)
    for handle in handles:
        handle.remove()
    for quantizer, ranges in seen.items():
        quantizer.set_range(torch.stack(ranges)[:, 0].min(), torch.stack(ranges)[:, 1].max())
    model.enable_quantizers(weights=True, activations=True)


@pytest.fixture(scope="session")
def image() -> Tensor:
    """A normalised image ``(1, 3, 128, 128)``."""
    return torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def raw() -> Callable[[QuantDetector, Tensor], list[Tensor]]:
    """``raw(model, image)``: the wrapper's raw outputs in one flat list, without gradients."""
    from mmptq.models.trace import flatten_tensors

    @torch.no_grad()
    def run(model: QuantDetector, image: Tensor) -> list[Tensor]:
        model.start_pass()
        return list(flatten_tensors(find_adapter(model.model).raw_outputs(image)))

    return run


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TinyProject]:
    """``tiny_project(family)``: images, configs and float weights on disk; not to be changed."""
    return functools.cache(
        lambda family: make_project(tmp_path_factory.mktemp(family), family, randomise)
    )


@pytest.fixture(scope="session")
def calibrated(
    tiny_project: Callable[[str], TinyProject], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Calibrated]:
    """``calibrated(family)``: a finished run of the tiny project, in one process."""

    @functools.cache
    def run(family: str) -> Calibrated:
        work_dir = tmp_path_factory.mktemp(f"{family}_run")
        runner = CalibrationRunner.from_cfg(tiny_project(family).load(work_dir))
        return Calibrated(work_dir, runner, runner.calibrate())

    return run
