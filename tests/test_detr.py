"""The preset for DETRs keeps the same parts in 8 bits in all of MMDetection's."""

import pytest
from mmengine.config import Config

from mmptq.adapters import find_adapter
from mmptq.models import QConfig
from tests.stock_models import build_stock
from tests.tiny_project import REPO

PRESET = REPO / "configs/_base_/quant/detr_w4a4.py"
# What is kept behind the backbone, beside the scope's first and last layers.
DEFORMABLE = {
    f"{where}.{name}"
    for i in range(6)
    for where in (f"encoder.layers.{i}.self_attn", f"decoder.layers.{i}.cross_attn")
    for name in ("value_proj", "output_proj")
}
DENSE = {
    f"{where}.attn.out_proj"
    for i in range(6)
    for where in (f"encoder.layers.{i}.self_attn", f"decoder.layers.{i}.cross_attn")
}
KEPT = {
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py": DEFORMABLE,
    "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py": DEFORMABLE
    | {"memory_trans_fc"},
    "dino/dino-4scale_r50_8xb2-12e_coco.py": DEFORMABLE | {"memory_trans_fc"},
    "detr/detr_r50_8xb2-150e_coco.py": DENSE,
}


@pytest.mark.parametrize("config", KEPT)
def test_what_the_preset_keeps(config: str) -> None:
    adapter = find_adapter(build_stock(config).model)
    plan = adapter.plan(QConfig.parse(Config.fromfile(PRESET).qconfig))
    specs = {site.name: site.spec for site in plan.sites}
    kept = set()
    for layer in plan.layers:
        bits = {specs[site].num_bits for site in layer.inputs}
        bits |= {layer.weight.num_bits} if layer.weight else set()
        assert bits <= {4.0, 8.0} and len(bits) == 1, layer.name
        kept |= {layer.name} if bits == {8.0} else set()
    others = {p.name for p in plan.layers if {"backbone", "first", "last"} & set(p.roles)}
    assert kept == others | KEPT[config]
