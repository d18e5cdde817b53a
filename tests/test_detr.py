"""The preset for DETRs keeps the same parts of all of MMDetection's in 8 bits."""

import pytest
from mmengine.config import Config

from mmptq.adapters import find_adapter
from mmptq.models import QConfig
from tests.stock_models import build_stock
from tests.tiny_project import REPO

PRESET = REPO / "configs/_base_/quant/detr_w4a4.py"
# What reads 8 bits behind the backbone, beside the scope's first and last layers.
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
    weights, inputs = set(), set()
    for layer in plan.layers:
        weights |= {layer.name} if layer.weight and layer.weight.num_bits == 8 else set()
        inputs |= {layer.name} if {specs[x].num_bits for x in layer.inputs} == {8} else set()
        assert {specs[site].num_bits for site in layer.inputs} in ({4}, {8}), layer.name
    kept = {p.name for p in plan.layers if {"backbone", "first", "last"} & set(p.roles)}
    assert weights == {p.name for p in plan.layers if p.name in kept and p.weight}
    assert inputs == kept | KEPT[config]
