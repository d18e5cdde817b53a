"""Parsing of the ``qconfig``: what it means, and what its errors say."""

import math
from typing import Any

import pytest
from mmengine.config import ConfigDict

from mmptq.errors import ConfigError
from mmptq.models import QConfig, TensorSpec


def parse(**cfg: Any) -> QConfig:
    return QConfig.parse(cfg)


def test_defaults() -> None:
    qconfig = parse()
    assert qconfig.scope == "full" and qconfig.per_call and qconfig.fold_bn
    assert qconfig.weight == TensorSpec(8.0, symmetric=True, per_channel=True)
    assert qconfig.act == TensorSpec(8.0, symmetric=False, per_channel="depthwise")


def test_values_replace_defaults() -> None:
    cfg = ConfigDict(
        weight=dict(num_bits=4, per_channel=False), act=dict(num_bits=2.5, symmetric=True)
    )
    qconfig = QConfig.parse(cfg)
    assert qconfig.weight == TensorSpec(4.0, True, False)
    assert qconfig.act == TensorSpec(2.5, True, "depthwise")


@pytest.mark.parametrize("value", ["none", False])
def test_activations_without_a_range_a_channel(value: Any) -> None:
    qconfig = parse(act=dict(per_channel=value))
    assert qconfig.act is not None and qconfig.act.per_channel == "none"


def test_none_is_float() -> None:
    qconfig = parse(weight=None, act=dict(num_bits=4))
    assert qconfig.weight is None
    assert qconfig.resolve("neck.conv", ["neck"]) == (None, TensorSpec(4.0, False, "depthwise"))
    assert qconfig.resolve("head.cls", ["head", "last"]) == (
        None,
        TensorSpec(8.0, False, "depthwise"),
    )


@pytest.mark.parametrize(("bits", "edge_bits"), [(2, 8), (4, 8), (8, 8), (10, 10)])
def test_full_keeps_the_edges_at_eight_bits_or_more(bits: int, edge_bits: int) -> None:
    qconfig = parse(weight=dict(num_bits=bits), act=dict(num_bits=bits))
    for role in ("first", "last"):
        weight, act = qconfig.resolve("x", ["head", role])
        assert weight is not None and act is not None
        assert (weight.num_bits, act.num_bits) == (edge_bits, edge_bits)
    weight, act = qconfig.resolve("x", ["head"])
    assert weight is not None and act is not None and weight.num_bits == act.num_bits == bits


def test_backbone_neck() -> None:
    qconfig = parse(scope="backbone_neck", weight=dict(num_bits=4), act=dict(num_bits=4))
    assert qconfig.resolve("bbox_head.x", ["head"]) == (None, None)
    assert qconfig.resolve("bbox_head.y", ["head", "last"]) == (None, None)
    weight, act = qconfig.resolve("backbone.conv1", ["backbone", "first"])
    assert weight is not None and weight.num_bits == 8 and act is None
    assert qconfig.resolve("neck.x", ["neck"]) == (qconfig.weight, qconfig.act)


def test_lapq_paper() -> None:
    qconfig = parse(scope="lapq_paper", weight=dict(num_bits=4), act=dict(num_bits=4))
    assert qconfig.resolve("c", ["backbone", "first"]) == (None, None)
    assert qconfig.resolve("c", ["head", "last"]) == (None, None)
    expected = (TensorSpec(4.0, True, False), TensorSpec(4.0, True, "none"))
    assert qconfig.resolve("c", ["neck"]) == expected


def test_the_users_value_beats_the_presets() -> None:
    qconfig = parse(scope="lapq_paper", weight=dict(per_channel=True), act=dict(symmetric=False))
    assert qconfig.weight is not None and qconfig.weight.per_channel
    assert qconfig.act is not None and not qconfig.act.symmetric


def test_the_first_match_wins_and_comes_before_the_preset() -> None:
    qconfig = parse(
        weight=dict(num_bits=4),
        act=dict(num_bits=4),
        overrides=[
            dict(pattern="backbone.layer1.*", weight=dict(num_bits=6)),
            dict(pattern="backbone.*", weight=dict(num_bits=5), act=None),
            dict(role="last", act=dict(num_bits=3)),
        ],
    )
    resolved = {
        name: qconfig.resolve(name, roles)
        for name, roles in {
            "backbone.layer1.0.conv1": ["backbone"],
            "backbone.conv1": ["backbone", "first"],
            "head.cls": ["head", "last"],
        }.items()
    }
    bits = {
        name: tuple(None if spec is None else spec.num_bits for spec in specs)
        for name, specs in resolved.items()
    }
    assert bits == {
        "backbone.layer1.0.conv1": (6.0, 4.0),
        "backbone.conv1": (5.0, None),
        "head.cls": (4.0, 3.0),
    }


def test_an_override_can_quantize_where_the_default_is_float() -> None:
    qconfig = parse(
        scope="lapq_paper",
        weight=None,
        act=None,
        overrides=[dict(pattern="neck.*", weight=dict(num_bits=4), act=dict(num_bits=6))],
    )
    assert qconfig.resolve("backbone.c", ["backbone"]) == (None, None)
    expected = (TensorSpec(4.0, True, False), TensorSpec(6.0, True, "none"))
    assert qconfig.resolve("neck.c", ["neck"]) == expected


@pytest.mark.parametrize(
    "bits", [0, -1, 0.99, 16.5, 33, math.nan, math.inf, "4", None, True, [4], {"bits": 4}]
)
@pytest.mark.parametrize("which", ["weight", "act"])
def test_bit_widths_that_cannot_be(bits: Any, which: str) -> None:
    with pytest.raises(ConfigError, match=rf"qconfig\.{which}\.num_bits = ") as error:
        parse(**{which: dict(num_bits=bits)})
    assert repr(bits) in str(error.value) and "[1, 16]" in str(error.value)
    with pytest.raises(ConfigError, match=rf"qconfig\.overrides\[0\]\.{which}\.num_bits = "):
        parse(overrides=[{"role": "first", which: dict(num_bits=bits)}])


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(weigth=dict(num_bits=4)), r"qconfig\.weigth: .*did you mean 'weight'"),
        (dict(zzz=1), r"qconfig\.zzz: unknown key; known: scope"),
        (dict(weight=dict(bits=4)), r"qconfig\.weight\.bits: unknown key; known are num_bits"),
        (dict(weight=4), r"qconfig\.weight = 4: must be a dict, or None"),
        (
            dict(act=dict(symmetric="yes")),
            r"qconfig\.act\.symmetric = 'yes': must be True or False",
        ),
        (dict(act=dict(per_channel=True)), r"qconfig\.act\.per_channel = True: .* 'depthwise' or"),
        (dict(act=dict(per_channel="all")), r"qconfig\.act\.per_channel = 'all'"),
        (dict(weight=dict(per_channel="depthwise")), r"weight\.per_channel = 'depthwise'"),
        (dict(scope="all"), r"qconfig\.scope = 'all': must be one of full, backbone_neck"),
        (dict(scope=["full"]), r"qconfig\.scope = \['full'\]"),
        (dict(per_call="no"), r"qconfig\.per_call = 'no': must be True or False"),
        (dict(fold_bn=0), r"qconfig\.fold_bn = 0: must be True or False"),
        (dict(overrides=dict(role="first")), r"qconfig\.overrides = .*must be a list"),
        (dict(overrides=3), r"qconfig\.overrides = 3: must be a list"),
    ],
)
def test_errors_name_key_value_and_fix(cfg: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QConfig.parse(cfg)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("first", r" = 'first': must be a dict"),
        (dict(role="first", bits=4), r"\.bits: unknown key"),
        (dict(weight=None), r"give either 'pattern' or 'role'"),
        (dict(pattern="a", role="first", weight=None), r"give either 'pattern' or 'role'"),
        (dict(role="middle", weight=None), r"\.role = 'middle': must be one of backbone"),
        (dict(pattern=None, weight=None), r"\.pattern = None: must be a string"),
        (dict(pattern=3, weight=None), r"\.pattern = 3: must be a string"),
        (dict(pattern=[], weight=None), r"\.pattern = \[\]: must be a string, or a list"),
        (dict(pattern=["a", 3], weight=None), r"\.pattern = \['a', 3\]: must be a string"),
        (dict(pattern="backbone.*"), r"changes nothing"),
        (dict(role="first", weight=8), r"\.weight = 8: must be a dict, or None"),
        (dict(role="first", weight=dict(bits=8)), r"\.weight\.bits: unknown key"),
        (dict(role="first", act=dict(per_channel=True)), r"\.act\.per_channel = True"),
    ],
)
def test_malformed_overrides(override: Any, message: str) -> None:
    good = dict(role="last", weight=None)
    with pytest.raises(ConfigError, match=r"qconfig\.overrides\[1\]" + ".*" + message):
        parse(overrides=[good, override])


@pytest.mark.parametrize("cfg", [None, 4, "w4a4", [("weight", None)]])
def test_not_a_dict(cfg: Any) -> None:
    with pytest.raises(ConfigError, match="must be a dict"):
        QConfig.parse(cfg)


def test_a_pattern_that_matches_nothing_names_its_neighbours() -> None:
    names = ["backbone.layer1.0.conv1", "backbone.layer1.0.conv2", "neck.fpn"]
    qconfig = parse(overrides=[dict(pattern="backbone.layer1.0.cnv1", weight=None)])
    with pytest.raises(
        ConfigError, match=r"overrides\[0\]\.pattern.*nearest: backbone.layer1.0.conv1"
    ):
        qconfig.check_patterns(names)
    parse(overrides=[dict(pattern="*.conv?", weight=None)]).check_patterns(names)


def test_of_a_list_of_patterns_one_must_pick_a_layer() -> None:
    qconfig = parse(
        weight=dict(num_bits=4), overrides=[dict(pattern=["*.fc_reg", "*.reg_?"], weight=None)]
    )
    for name in ("head.fc_reg", "head.reg_0"):
        assert qconfig.resolve(name, ["head"]) == (None, qconfig.act)
    assert qconfig.resolve("head.fc_cls", ["head"]) == (qconfig.weight, qconfig.act)
    qconfig.check_patterns(["head.fc_cls", "head.reg_0"])
    with pytest.raises(ConfigError, match=r"pattern = \['\*.fc_reg', '\*.reg_\?'\] matches no"):
        qconfig.check_patterns(["head.fc_cls"])
