"""benchmarks/detr_parts.py: which layer is of which part."""

import pytest

LAYERS = (
    ("backbone.conv1", "backbone"),
    ("neck.convs.0.conv", "neck"),
    ("encoder.layers.1.self_attn.sampling_offsets", "encoder: sampling offsets"),
    ("encoder.layers.1.ffn.layers.0.0", "encoder: perceptrons"),
    ("memory_trans_fc", "queries' choice"),
    ("bbox_head.cls_branches.6", "queries' choice"),
    ("bbox_head.reg_branches.6.4", "queries' choice"),
    ("decoder.ref_point_head.layers.0", "queries' positions"),
    ("decoder.layers.0.self_attn.attn.product.probs", "decoder: self-attention"),
    ("decoder.layers.0.cross_attn.value_proj", "decoder: values"),
    ("bbox_head.reg_branches.0.4", "box branches"),
    ("bbox_head.cls_branches.5", "class branches"),
)


@pytest.mark.parametrize(("layer", "part"), LAYERS)
def test_each_layer_is_of_one_part(layer, part):
    from detr_parts import parts_of

    assert parts_of([layer], 6) == {part: {layer}}


def test_the_table_has_the_parts_that_are_measured():
    from detr_parts import show

    cell = {"distance": 0.5, "metric": 12.34, "quantizers": 3, "weights": 0.25}
    names = ("all", "neck/alone", "neck/spared", "backbone/alone")
    assert show({f"m/W4A4/{name}": cell for name in names}, "m/W4A4").splitlines()[2:] == [
        "| all | 3 | 25.0 % |  | 0.5000 | 12.3 |",
        "| neck | 3 | 25.0 % | 0.5000 | 0.5000 | 12.3 |",
    ]
