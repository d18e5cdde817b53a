"""Small detectors that can compute a loss, with a calibration context; import the fixture."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import nn

from mmptq.adapters import find_adapter
from mmptq.algorithms import RangeCalibration
from mmptq.engine import CalibrationContext, StageStore
from mmptq.models import QConfig, QuantDetector
from mmptq.modules.swap import to_quantized
from mmptq.quantizers import UniformQuantizer

MMSE = {"type": "LpNormObserver", "p": 2.0}
W4A4: dict[str, Any] = {"weight": {"num_bits": 4}, "act": {"num_bits": 4}}
# With quantizers in front of additions and pools.
WITH_OUTPUTS = {**W4A4, "target": {"type": "onnxruntime", "quantize_outputs": True}}


def _assigner(positive: float, negative: float) -> dict[str, Any]:
    return dict(type="MaxIoUAssigner", pos_iou_thr=positive, neg_iou_thr=negative, min_pos_iou=0.0)


def _random(num: int) -> dict[str, Any]:
    return dict(type="RandomSampler", num=num, pos_fraction=0.5, add_gt_as_proposals=False)


TRAIN_CFG: dict[str, Any] = {
    "retinanet": dict(
        assigner=_assigner(0.5, 0.4),
        sampler=dict(type="PseudoSampler"),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    "faster_rcnn": dict(
        rpn=dict(
            assigner=_assigner(0.5, 0.3), sampler=_random(16), allowed_border=-1, pos_weight=-1
        ),
        rpn_proposal=dict(
            nms_pre=60, max_per_img=30, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
        ),
        rcnn=dict(assigner=_assigner(0.3, 0.3), sampler=_random(12), pos_weight=-1),
    ),
}


class Images:
    """A few random images of different sizes with two boxes each, in CalibrationSet's form."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(3)
        self.num_images = count
        self.paths = [f"image_{i}.png" for i in range(count)]
        self._data = []
        for i in range(count):
            height, width = (96, 128) if i % 2 else (128, 96)
            pixels = torch.randint(0, 256, (3, height, width), generator=generator)
            boxes = torch.tensor([[8.0, 10.0, 50.0, 60.0], [40.0, 30.0, 90.0, 80.0]]) + i
            sample = DetDataSample(
                metainfo=dict(
                    img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)
                )
            )
            sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1, 3]))
            self._data.append((pixels.to(torch.uint8), sample))

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for position, (pixels, sample) in enumerate(self._data):
            yield position, pseudo_collate([{"inputs": pixels, "data_samples": sample.clone()}])


def quantized_conv() -> Any:
    """A 3x3 convolution of 4 channels with a 4-bit weight; its input stays as it is."""
    layer: Any = to_quantized(nn.Conv2d(4, 4, 3, padding=1))
    layer.weight_quantizer = UniformQuantizer(4)
    layer.weight_quantizer.set_range(layer.weight.amin(), layer.weight.amax())
    return layer


def _track(items: Any, name: str, total: int | None = None) -> Iterator[Any]:
    yield from items


MakeContext = Callable[..., CalibrationContext]


@pytest.fixture
def make_context(
    detector_cfgs: dict[str, dict[str, Any]],
    make_detector: Callable[[str], nn.Module],
    tmp_path: Path,
) -> MakeContext:
    """``make_context(name, images=2, qconfig=W4A4, folder='a', resume=False, ranges=True)``."""

    def make(
        name: str,
        images: int = 2,
        qconfig: dict[str, Any] = W4A4,  # noqa: B006
        folder: str = "a",
        resume: bool = False,
        ranges: bool = True,
    ) -> CalibrationContext:
        cfg = copy.deepcopy(detector_cfgs[name])
        cfg["train_cfg"] = copy.deepcopy(TRAIN_CFG[name])
        model = QuantDetector(detector_type=cfg.pop("type"), **cfg).eval()
        model.load_state_dict(make_detector(name).state_dict())
        adapter = find_adapter(model.model)
        model.prepare(adapter.plan(QConfig.parse(qconfig)))
        store = StageStore(tmp_path / folder / "stages", {}, resume)
        data: Any = Images(images)
        context = CalibrationContext(model, adapter, data, store, _track)
        if ranges:
            RangeCalibration(weight=MMSE, act=MMSE).run(context)
        return context

    return make
