"""Plans that differ by bit-widths, and the qconfigs that give them."""

from typing import Any

import pytest
import torch

from mmptq.adapters import find_adapter
from mmptq.models import Plan, QConfig, QuantDetector
from mmptq.models.bits import bits_overrides, readers, tied_sites, with_bits, without_bits

W4A4: dict[str, Any] = {"weight": {"num_bits": 4}, "act": {"num_bits": 4}}


@pytest.fixture
def plan(make_detector: Any) -> Plan:
    return find_adapter(make_detector("retinanet")).plan(QConfig.parse(W4A4))


def test_bits_change_and_nothing_else(plan: Plan) -> None:
    layer, site = plan.layers[3].name, plan.sites[5].name
    changed = with_bits(plan, {layer: 2.0}, {site: 6.0})
    weights = {x.name: x.weight.num_bits for x in changed.layers if x.weight is not None}
    acts = {x.name: x.spec.num_bits for x in changed.sites}
    assert weights.pop(layer) == 2.0 and acts.pop(site) == 6.0
    assert all(weights[x.name] == x.weight.num_bits for x in plan.layers if x.name in weights)
    assert all(acts[x.name] == x.spec.num_bits for x in plan.sites if x.name in acts)
    assert changed != plan and without_bits(changed) == without_bits(plan)


def test_levels_that_a_head_reads_are_tied_and_their_readers_too(plan: Plan) -> None:
    groups = tied_sites(plan)
    assert sorted(name for group in groups for name in group) == sorted(s.name for s in plan.sites)
    heads = {"bbox_head.cls_convs.0.conv", "bbox_head.reg_convs.0.conv"}
    (levels,) = (group for group in groups if heads <= set(readers(plan, group)))
    assert len(levels) == 5  # of the pyramid
    inside = [g for g in groups if readers(plan, g) == ["bbox_head.cls_convs.1.conv"]]
    assert [len(group) for group in inside] == [5]


def test_overrides_lead_to_the_same_plan(make_detector: Any, plan: Plan) -> None:
    acts = {
        name: bits
        for group, bits in zip(tied_sites(plan), (2, 3, 6, 8) * 20, strict=False)
        for name in group
    }
    weights = {x.name: float(2 + i % 5) for i, x in enumerate(plan.layers)}
    wanted = with_bits(plan, weights, acts)
    qconfig = {**W4A4, "overrides": bits_overrides(plan, wanted)}
    assert find_adapter(make_detector("retinanet")).plan(QConfig.parse(qconfig)) == wanted
    assert bits_overrides(plan, plan) == []


def test_a_model_takes_bits_and_reloads_with_them(
    detector_cfgs: Any, make_detector: Any, plan: Plan
) -> None:
    def build() -> QuantDetector:
        cfg = dict(detector_cfgs["retinanet"])
        model = QuantDetector(detector_type=cfg.pop("type"), **cfg)
        model.load_state_dict(make_detector("retinanet").state_dict())
        return model.eval()

    model = build()
    model.prepare(plan)
    for quantizer in (*model.sites.values(), *model.weight_quantizers().values()):
        shape = quantizer.scale.shape
        quantizer.set_range(torch.full(shape, -1.0), torch.full(shape, 2.0))
    layer, site = plan.layers[3].name, plan.sites[5].name
    changed = with_bits(plan, {layer: 2.0}, {site: 6.0})
    model.set_bits(changed)
    assert model.plan == changed == Plan.from_tensor(model.quant_plan)
    assert model.weight_quantizers()[layer].scheme.num_bits == 2.0
    assert model.sites[site].scheme.num_bits == 6.0
    assert float(model.sites[site].scale) == pytest.approx(3.0 / 63.0)
    reloaded = build()
    reloaded.load_state_dict(model.state_dict())
    assert reloaded.plan == changed
    assert reloaded.sites[site].scheme == model.sites[site].scheme


def test_another_plan_is_refused(detector_cfgs: Any, plan: Plan) -> None:
    cfg = dict(detector_cfgs["retinanet"])
    model = QuantDetector(detector_type=cfg.pop("type"), **cfg).eval()
    with pytest.raises(ValueError, match="more than bit-widths"):
        model.set_bits(plan)
    model.prepare(plan)
    other = find_adapter(QuantDetector(**_renamed(detector_cfgs)).model).plan(
        QConfig.parse({**W4A4, "per_call": False})
    )
    with pytest.raises(ValueError, match="more than bit-widths"):
        model.set_bits(other)


def _renamed(detector_cfgs: Any) -> dict[str, Any]:
    cfg = dict(detector_cfgs["retinanet"])
    return {"detector_type": cfg.pop("type"), **cfg}
