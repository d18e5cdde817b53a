import pytest

from mmptq.errors import ConfigError, NumericalError
from mmptq.runner.checks import float_model_on


def test_the_image_and_the_reason_stand_in_one_line():
    with pytest.raises(ConfigError) as error, float_model_on("a/b.png"):
        raise RuntimeError("sizes differ:\n  3 and 4")
    assert str(error.value).startswith(
        "the float model fails on a/b.png: RuntimeError: sizes differ: 3 and 4; "
    )


def test_a_bare_assertion_is_told_by_its_place():
    with pytest.raises(ConfigError, match=r"AssertionError: assert not True \(test_float_model.py"):
        with float_model_on("a.png"):
            assert not True


def test_what_says_enough_itself_passes():
    with pytest.raises(NumericalError, match="^NaN$"), float_model_on("a.png"):
        raise NumericalError("NaN")
