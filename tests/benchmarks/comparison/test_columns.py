"""benchmarks/comparison/columns.py: from W4A4 to a qconfig."""

import pytest

from mmptq.errors import ConfigError

OWN = {
    "scope": "full",
    "weight": {"num_bits": 4, "symmetric": False},
    "act": {"num_bits": 4},
    "overrides": ["kept"],
}


@pytest.fixture
def find():
    from comparison.columns import find_columns

    return lambda name: find_columns([name])[0]


def test_a_column_changes_the_bits_alone(find):
    qconfig = find("W2A8").qconfig(OWN)
    assert qconfig == {
        "scope": "full",
        "weight": {"num_bits": 2, "symmetric": False},
        "act": {"num_bits": 8},
        "overrides": ["kept"],
    }
    assert OWN["weight"]["num_bits"] == 4


def test_a_scope_decides_everything_but_the_bits(find):
    column = find("lapq_paper-W4A32")
    assert column.qconfig(OWN) == {
        "scope": "lapq_paper",
        "weight": {"num_bits": 4},
        "act": None,
    }


@pytest.mark.parametrize("name", ["W4", "W0A4", "W17A4", "w4a4", "heads-W4A4", "W4A4/"])
def test_an_impossible_column_is_named_with_the_known_ones(find, name):
    with pytest.raises(ConfigError, match=rf"no column '{name}'; known: W8A8.*backbone_neck"):
        find(name)


def test_a_column_given_twice_counts_once():
    from comparison.columns import find_columns

    assert [c.name for c in find_columns(["W4A4", "W8A8", "W4A4"])] == ["W4A4", "W8A8"]
