"""The file of a packed checkpoint is as large as the table says, for the demo's models, too."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmptq.adapters import find_adapter
from mmptq.engine import load_float_checkpoint
from mmptq.evaluation import Results, model_cost, profile_model
from mmptq.hooks import SaveQuantizedHook
from mmptq.models import QConfig, QuantModel
from mmptq.runner.prepare_config import complete_config
from mmptq.runner.probe import pipeline_probe
from mmptq.runner.random_model import wrapped_model

ROOT = Path(__file__).resolve().parents[3]


@torch.no_grad()
def set_ranges(model: QuantModel) -> None:
    """Min-max ranges of weights, random ones of activations: a file's size is not theirs."""
    for name, quantizer in model.weight_quantizers().items():
        weight, axis = model.model.get_submodule(name).weight, quantizer.ch_axis
        rows = (weight[None] if axis is None else weight.movedim(axis, 0)).flatten(1)
        shape = quantizer.scale.shape
        quantizer.set_range(rows.amin(1).reshape(shape), rows.amax(1).reshape(shape))
    torch.manual_seed(0)
    for site in model.sites.values():
        site.set_range(-torch.rand_like(site.scale), torch.rand_like(site.scale))


@pytest.mark.parametrize(
    "config",
    [
        "demo/retinanet_w4a4_mmse.py",
        "demo/retinanet_w8a8_mmse.py",
        "demo/faster_rcnn_w4a4_mmse.py",
        "classification/vit_digits_w6a6_mmse.py",
        "classification/vit_digits_w8a8_mmse.py",
    ],
)
@pytest.mark.parametrize("bits", [None, 2])
def test_within_five_percent_of_the_table(
    config: str, bits: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile(f"configs/{config}")
    if bits and "vit" in config:
        pytest.skip("its config's text is more than a twentieth of what is left")
    if bits:
        cfg.qconfig.weight.num_bits = bits
    complete_config(cfg)
    model = wrapped_model(cfg).eval()
    load_float_checkpoint(model, cfg.load_from)
    adapter = find_adapter(model.model)
    adapter.probe = pipeline_probe(cfg, adapter)
    plan = adapter.plan(QConfig.parse(cfg.qconfig))
    table = model_cost(profile_model(adapter, adapter.probe.full_size), plan).size_mb
    model.prepare(plan)
    set_ranges(model)
    classes = {"classes": tuple("0123456789"), "palette": [(1, 2, 3)] * 10}
    visualizer = SimpleNamespace(dataset_meta=classes)
    runner = SimpleNamespace(work_dir=str(tmp_path), model=model, cfg=cfg, visualizer=visualizer)
    SaveQuantizedHook(packed=True).after_calibrate(runner, Results(config, Path("w.pth"), []))
    assert (tmp_path / "quantized.pth").stat().st_size / 1e6 == pytest.approx(table, rel=0.05)
