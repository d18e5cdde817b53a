"""``registry.build`` and its messages; the tie to MMEngine's registries."""

from typing import Any

import pytest
from mmengine import registry as root
from mmengine.registry import Registry

from mmptq import registry
from mmptq.errors import ConfigError

TOYS = Registry("toy", scope="mmptq")


@TOYS.register_module()
class Toy:
    def __init__(self, size: int, colour: str = "red") -> None:
        self.size, self.colour = size, colour


@TOYS.register_module()
class AnyToy:
    def __init__(self, **kwargs: Any) -> None:
        self.kwargs = kwargs


@pytest.mark.parametrize("name", ["Toy", "mmptq.Toy", Toy])
def test_build(name: Any) -> None:
    cfg = dict(type=name, size=3)
    toy = registry.build(TOYS, cfg, "toy", colour="blue")
    assert type(toy) is Toy and (toy.size, toy.colour) == (3, "blue")
    assert cfg == dict(type=name, size=3)


def test_the_config_beats_the_defaults() -> None:
    assert registry.build(TOYS, dict(type="Toy", size=1, colour="x"), "t", colour="y").colour == "x"


def test_any_keyword_goes_where_the_class_takes_any() -> None:
    assert registry.build(TOYS, dict(type="AnyToy", a=1), "t").kwargs == {"a": 1}


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(type="Toi", size=1), r"steps\[0\]\.type: no toy is called 'Toi'; did you mean 'Toy'"),
        (dict(type="Zebra"), r"no toy is called 'Zebra'; known: AnyToy, Toy"),
        (dict(type="mmptq.Toi"), r"did you mean 'Toy'"),
        (
            dict(type="Toy", size=1, color="x"),
            r"steps\[0\]\.color: unknown argument of Toy; .*colour",
        ),
        (dict(type="Toy"), r"steps\[0\]: Toy: missing a required argument: 'size'"),
        (dict(size=1), r"steps\[0\] must be a dict with the key 'type'"),
        ("Toy", r"steps\[0\] must be a dict with the key 'type', got 'Toy'"),
        (None, r"steps\[0\] must be a dict"),
    ],
)
def test_errors_name_the_config_key(cfg: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.build(TOYS, cfg, "steps[0]")


def test_an_error_inside_the_constructor_is_not_hidden() -> None:
    class Broken:
        def __init__(self, size: int) -> None:
            raise TypeError("from within")

    with pytest.raises(TypeError, match="from within") as error:
        registry.build(TOYS, dict(type=Broken, size=1), "t")
    assert not isinstance(error.value, ConfigError)


@pytest.mark.parametrize("name", ["MODELS", "DATASETS", "HOOKS", "RUNNERS"])
def test_configs_of_mmengine_reach_ours(name: str) -> None:
    ours, theirs = getattr(registry, name), getattr(root, name)
    assert ours.parent is theirs and ours.scope == "mmptq"


def test_mmengine_finds_a_class_by_its_scope() -> None:
    from mmptq.models import QuantDetector

    assert root.MODELS.get("mmptq.QuantDetector") is QuantDetector


def test_a_second_registration_of_a_name_raises() -> None:
    with pytest.raises(KeyError, match="already registered"):
        TOYS.register_module(name="Toy", module=AnyToy)
