"""Small quantized detectors to export; import the fixtures, `make_context` with them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmptq.algorithms import RangeCalibration
from mmptq.export.parts import Example
from tests.calibration_support import MMSE, MakeContext

REAL = ("onnxruntime", "openvino")  # targets that are runtimes, by one name
CFG = Config({"test_dataloader": {"dataset": {"pipeline": [{"type": "LoadImageFromFile"}]}}})
W7A8 = {"weight": {"num_bits": 7}, "act": {"num_bits": 8}}
SCORES = ("retina_cls", "rpn_cls", "fc_cls")

Make = Callable[..., Any]


@pytest.fixture
def make_model(make_context: MakeContext) -> Make:
    """``make_model(family, **qconfig)``: quantized, with scores that are not all 0 or 1."""

    def make(family: str, **qconfig: Any) -> Any:
        context = make_context(
            family, images=1, qconfig={**W7A8, **qconfig}, folder=family, ranges=False
        )
        for name, module in context.model.named_modules():
            if name.endswith(SCORES):
                module.weight.data *= 0.05
        RangeCalibration(weight=MMSE, act=MMSE).run(context)
        return context.model

    return make


def example(height: int, width: int, images: int = 1) -> Example:
    """Noise that is padded by some pixels."""
    generator = torch.Generator().manual_seed(height)
    image = torch.randn(images, 3, height, width, generator=generator)
    return {"image": image, "size": torch.tensor([[height - 5.0, width - 9.0]] * images)}
