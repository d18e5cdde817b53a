"""Records, and a linear classifier whose Fisher information can be computed by hand."""

from pathlib import Path
from typing import Any

from mmengine.registry import init_default_scope
from torch import nn

from mmptq.adapters import find_adapter
from mmptq.algorithms import RangeCalibration
from mmptq.analysis.sensitivity import Sensitivity
from mmptq.engine import CalibrationContext, OutputDistance, StageStore
from mmptq.models import QConfig, QuantClassifier
from tests.calibration_support import MMSE, W4A4, _track
from tests.transformer_support import PREPROCESSOR, Images

SIZE, WIDTH, CLASSES = 2, 5, 3


def record(layer: str, **changes: Any) -> Sensitivity:
    """One with some numbers, of a weight where nothing else is said."""
    which = changes.get("which", "weight")
    values: dict[str, Any] = dict(
        name=f"{layer}.{which}",
        layers=(layer,),
        which=which,
        stage="neck",
        num_bits=4.0,
        macs=10,
        numel=3.0,
        sqnr=20.0,
        fisher=0.1,
        fisher_error=0.01,
        projected=0.2,
        projected_error=0.02,
    )
    return Sensitivity(**{**values, **changes})


def make_linear() -> nn.Module:
    """Two layers without anything between them."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, WIDTH), nn.Linear(WIDTH, CLASSES))


def linear_context(folder: Path, images: int = 4, batch_size: int = 1) -> CalibrationContext:
    """A calibrated linear classifier, W4A4 in the middle."""
    init_default_scope("mmdet")
    model = QuantClassifier(
        classifier_type="mmptq.ModuleClassifier",
        module=f"{__name__}:make_linear",
        image_size=SIZE,
        data_preprocessor=PREPROCESSOR,
    ).eval()
    adapter = find_adapter(model.model)
    model.prepare(adapter.plan(QConfig.parse({**W4A4, "scope": "full", "overrides": [ALL]})))
    data: Any = Images(images, SIZE, batch_size)
    context = CalibrationContext(model, adapter, data, StageStore(folder, {}, False), _track)
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    return context


def objective(context: CalibrationContext) -> OutputDistance:
    """That of the estimate, ready."""
    found = OutputDistance()
    found.prepare(context.adapter, 0.0, context.store.folder)
    return found


# Few bits everywhere: at the edges, too.
ALL: dict[str, Any] = dict(pattern="*", weight=dict(num_bits=4), act=dict(num_bits=4))
