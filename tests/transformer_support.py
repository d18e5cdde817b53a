"""Small vision transformers with a calibration context."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmptq.adapters import find_adapter
from mmptq.algorithms import RangeCalibration
from mmptq.engine import CalibrationContext, StageStore
from mmptq.models import QConfig, QuantClassifier
from mmptq.structures import ClassSample
from tests.calibration_support import MMSE, W4A4

PREPROCESSOR = dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[64.0] * 3)
VIT: dict[str, Any] = dict(
    classifier_type="mmptq.VisionTransformer",
    image_size=16,
    patch_size=4,
    embed_dims=16,
    depth=2,
    num_heads=2,
    num_classes=5,
)
SWIN: dict[str, Any] = dict(
    classifier_type="mmptq.BackboneClassifier",
    backbone=dict(
        type="SwinTransformer", embed_dims=8, depths=[2, 2], num_heads=[2, 2], window_size=3,
        mlp_ratio=2, strides=[4, 2], out_indices=[1],
    ),
    image_size=32,
    num_classes=5,
)  # fmt: skip
PVT: dict[str, Any] = dict(
    classifier_type="mmptq.BackboneClassifier",
    backbone=dict(
        type="PyramidVisionTransformer", embed_dims=8, num_stages=2, num_layers=[1, 1],
        num_heads=[1, 2], sr_ratios=[2, 1], mlp_ratios=[2, 2], patch_sizes=[4, 2], strides=[4, 2],
        paddings=[0, 0], out_indices=[1],
    ),
    image_size=32,
    num_classes=5,
)  # fmt: skip
MODELS = {"vit": VIT, "swin": SWIN, "pvt": PVT}


class Images:
    """Random images with labels, in CalibrationSet's form."""

    def __init__(self, count: int, size: int, batch_size: int) -> None:
        generator = torch.Generator().manual_seed(3)
        self.num_images, self.batch_size = count, batch_size
        self.paths = [f"image_{i}.png" for i in range(count)]
        self.pixels = torch.randint(0, 256, (count, 3, size, size), generator=generator)

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for start in range(0, self.num_images, self.batch_size):
            items = []
            for i in range(start, min(start + self.batch_size, self.num_images)):
                sample = ClassSample(metainfo={"img_path": self.paths[i]})
                sample.set_field(torch.tensor([i % 5]), "gt_label", field_type="data")
                items.append({"inputs": self.pixels[i].to(torch.uint8), "data_samples": sample})
            yield start, pseudo_collate(items)


def _track(items: Any, name: str, total: int | None = None) -> Iterator[Any]:
    yield from items


def make_model(name: str, **changes: Any) -> QuantClassifier:
    """A float one, in eval mode, its parameters spread so that nothing is trivially zero."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = QuantClassifier(**{**MODELS[name], "data_preprocessor": PREPROCESSOR, **changes})
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


MakeTransformer = Callable[..., CalibrationContext]


@pytest.fixture
def make_transformer(tmp_path: Path) -> MakeTransformer:
    """``make_transformer(name, images=3, qconfig=W4A4, folder='a', batch_size=1)``."""

    def make(
        name: str,
        images: int = 3,
        qconfig: dict[str, Any] = W4A4,  # noqa: B006
        folder: str = "a",
        batch_size: int = 1,
    ) -> CalibrationContext:
        model = make_model(name)
        adapter = find_adapter(model.model)
        model.prepare(adapter.plan(QConfig.parse(qconfig)))
        data: Any = Images(images, adapter.trace_size[0], batch_size)
        store = StageStore(tmp_path / folder / "stages", {}, False)
        context = CalibrationContext(model, adapter, data, store, _track)
        RangeCalibration(weight=MMSE, act=MMSE).run(context)
        return context

    return make
