"""Bit-widths from the command line."""

import pytest

from mmptq.analysis import BitWidths
from mmptq.errors import ConfigError
from mmptq.models import QConfig


@pytest.mark.parametrize(
    ("text", "weight", "act", "label"),
    [
        ("4/8", 4, 8, "W4A8"),
        ("W2A4", 2, 4, "W2A4"),
        ("32/4", 32, 4, "W32A4"),
        ("w2.5a3", 2.5, 3, "W2.5A3"),
    ],
)
def test_both_forms(text: str, weight: float, act: float, label: str) -> None:
    widths = BitWidths.parse(text)
    assert (widths.weight, widths.act, widths.label) == (weight, act, label)


@pytest.mark.parametrize("text", ["4", "W4", "4/x", "0/4", "4/17", "32/32", "4/4/4"])
def test_others_are_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=f"bits '{text}'"):
        BitWidths.parse(text)


def test_qconfig_keeps_what_is_not_about_bits() -> None:
    qconfig = {"scope": "full", "weight": {"num_bits": 8, "per_channel": False}, "act": None}
    changed = BitWidths.parse("3/4").apply(qconfig)
    assert changed["weight"] == {"num_bits": 3, "per_channel": False}
    assert changed["act"] == {"num_bits": 4}
    assert changed["scope"] == "full"
    assert qconfig["weight"]["num_bits"] == 8
    parsed = QConfig.parse(BitWidths.parse("32/4").apply(qconfig))
    assert parsed.weight is None
    assert parsed.act is not None and parsed.act.num_bits == 4


def test_a_qconfigs_own_bits() -> None:
    assert BitWidths.of({"weight": {"num_bits": 3}, "act": None}) == BitWidths(3, 32)
    assert BitWidths.of({}).label == "W8A8"
    qconfig = {"scope": "full", "weight": {"num_bits": 4}, "act": {"num_bits": 6}}
    own = BitWidths.of(qconfig)
    assert QConfig.parse(own.apply(qconfig)) == QConfig.parse(qconfig)
    with pytest.raises(ConfigError, match="qconfig.weight.num_bits"):
        BitWidths.of({"weight": {"num_bits": 40}})
