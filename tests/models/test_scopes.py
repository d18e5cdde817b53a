"""The presets themselves; what they do to real detectors is in test_plan.py."""

import pytest

from mmptq.errors import ConfigError
from mmptq.models import SCOPES, QConfig
from mmptq.models.scopes import scope_preset


@pytest.mark.parametrize("name", SCOPES)
def test_every_preset_works_with_any_part_in_float(name: str) -> None:
    assert scope_preset(name).summary
    for weight in (None, dict(num_bits=4)):
        for act in (None, dict(num_bits=4)):
            qconfig = QConfig.parse(dict(scope=name, weight=weight, act=act))
            for roles in (["backbone", "first"], ["neck"], ["head", "last"]):
                got_weight, got_act = qconfig.resolve("x", roles)
                assert weight is not None or got_weight is None
                assert act is not None or got_act is None


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="'bakbone'.*full, backbone_neck, lapq_paper"):
        scope_preset("bakbone")
