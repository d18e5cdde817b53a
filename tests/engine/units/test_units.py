import pytest
from torch import nn

from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.units import Unit, find_units
from mmptq.errors import ConfigError
from tests.calibration_support import WITH_OUTPUTS, MakeContext, make_context

__all__ = ["make_context"]


def units_of(
    make_context: MakeContext, name: str, granularity: str
) -> tuple[list[Unit], CallGraph]:
    context = make_context(name)
    graph = call_graph(context.model, context.adapter)
    return find_units(context.model, context.adapter, graph, granularity), graph


BLOCKS = [f"backbone.layer{i}.{j}" for i in range(1, 5) for j in range(2)]


def test_units_of_retinanet(make_context: MakeContext) -> None:
    units, _ = units_of(make_context, "retinanet", "block")
    assert [unit.name for unit in units] == [
        "backbone.conv1",
        *BLOCKS,
        *(f"neck.lateral_convs.{i}" for i in range(3)),
        *(f"neck.fpn_convs.{i}" for i in range(5)),
        *(f"bbox_head.{kind}_convs.{i}" for kind in ("cls", "reg") for i in range(2)),
        "bbox_head.retina_cls",
        "bbox_head.retina_reg",
    ]
    by_name = {unit.name: unit for unit in units}
    assert by_name["backbone.layer2.0"].layers == tuple(
        f"backbone.layer2.0.{layer}" for layer in ("conv1", "conv2", "downsample.0")
    )
    tower = by_name["bbox_head.cls_convs.1"]
    assert tower.layers == ("bbox_head.cls_convs.1.conv",)
    assert len(tower.calls) == len(tower.sites) == 5
    assert [dict(offset) for offset in tower.offsets] == [{tower.layers[0]: i} for i in range(5)]
    assert len(by_name["backbone.layer2.0"].calls) == 1


@pytest.mark.parametrize("granularity", ["block", "layer"])
def test_an_output_belongs_to_its_layer(make_context: MakeContext, granularity: str) -> None:
    context = make_context("retinanet", qconfig=WITH_OUTPUTS)
    graph = call_graph(context.model, context.adapter)
    units = find_units(context.model, context.adapter, graph, granularity)
    assert [unit.name for unit in units] == [
        unit.name for unit in units_of(make_context, "retinanet", granularity)[0]
    ]
    stem = units[0]
    assert stem.layers == ("backbone.conv1", "backbone.conv1.output")
    assert stem.sites == ("backbone.conv1:0", "backbone.conv1.output:0")
    owned = {unit.name: unit.sites for unit in units}
    unit = "backbone.layer2.0" + ("" if granularity == "block" else ".conv2")
    assert "backbone.layer2.0.conv2.output:0" in owned[unit]
    assert sorted(s for sites in owned.values() for s in sites) == sorted(context.model.sites)


def test_units_of_faster_rcnn(make_context: MakeContext) -> None:
    units, _ = units_of(make_context, "faster_rcnn", "block")
    assert [unit.name for unit in units][-7:] == [
        "rpn_head.rpn_conv",
        "rpn_head.rpn_cls",
        "rpn_head.rpn_reg",
        "roi_head.bbox_head.shared_fcs.0",
        "roi_head.bbox_head.shared_fcs.1",
        "roi_head.bbox_head.fc_cls",
        "roi_head.bbox_head.fc_reg",
    ]


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize("granularity", ["block", "layer"])
def test_each_layer_and_site_is_in_one_unit(
    make_context: MakeContext, name: str, granularity: str
) -> None:
    units, _ = units_of(make_context, name, granularity)
    context = make_context(name, folder="b")
    layers = [layer for unit in units for layer in unit.layers]
    assert sorted(layers) == sorted(name for name, _ in context.model.quant_layers())
    sites = [site for unit in units for site in unit.sites]
    assert sorted(sites) == sorted(context.model.sites)
    if granularity == "layer":
        assert all(len(unit.layers) == 1 for unit in units)


@pytest.mark.parametrize(
    ("name", "behind_relu"),
    [
        # conv1 of a block is followed by its ReLU, conv2 by the addition; towers end in their own
        # ReLU, the RPN's convolution and the fully connected layers in a functional one.
        ("retinanet", {"backbone.conv1", *(f"{block}.conv1" for block in BLOCKS)}),
        (
            "faster_rcnn",
            {
                "backbone.conv1",
                *(f"{block}.conv1" for block in BLOCKS),
                "rpn_head.rpn_conv",
                "roi_head.bbox_head.shared_fcs.0",
                "roi_head.bbox_head.shared_fcs.1",
            },
        ),
    ],
)
def test_outputs_that_only_relus_read(
    make_context: MakeContext, name: str, behind_relu: set[str]
) -> None:
    units, _ = units_of(make_context, name, "layer")
    assert {unit.name for unit in units if unit.relu} == behind_relu


def test_float_layers_are_in_no_unit(make_context: MakeContext) -> None:
    qconfig = dict(scope="backbone_neck", weight=dict(num_bits=4), act=dict(num_bits=4))
    context = make_context("retinanet", qconfig=qconfig)
    graph = call_graph(context.model, context.adapter)
    units = find_units(context.model, context.adapter, graph, "block")
    assert all(unit.name.startswith(("backbone", "neck")) for unit in units)


def test_a_block_of_another_form_is_taken_apart(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context("retinanet")
    graph = call_graph(context.model, context.adapter)
    # The neck reads a tuple and returns one.
    monkeypatch.setattr(
        type(context.adapter),
        "unit_of",
        lambda self, layer, granularity: "neck" if layer.startswith("neck") else layer,
    )
    units = find_units(context.model, context.adapter, graph, "block")
    assert isinstance(context.model.model.get_submodule("neck"), nn.Module)
    assert all(len(unit.layers) == 1 for unit in units)


def test_unknown_granularity(make_context: MakeContext) -> None:
    with pytest.raises(ConfigError, match="granularity = 'net'"):
        units_of(make_context, "retinanet", "net")
