"""benchmarks/comparison/specs.py: from a method's name to its recipe."""

import pytest

from mmptq.errors import ConfigError


@pytest.fixture
def specs():
    from comparison import specs

    return specs


@pytest.fixture
def steps(specs):
    """Of a method's text, for a model."""
    from comparison.models import MODELS

    def of(text, model="demo_retinanet", iters=None):
        (spec,) = specs.find_specs([text], iters)
        return spec.steps(MODELS[model])

    return of


def test_every_method_is_a_recipe_of_every_kind_of_model(steps):
    from comparison.methods import DEFAULT_METHODS, METHODS

    for key in METHODS:
        for model in ("demo_retinanet", "resnet20"):
            assert steps(key, model), key
    assert set(DEFAULT_METHODS) <= set(METHODS)


def test_a_detector_takes_the_fast_recipe_and_a_classifier_its_own(steps):
    assert steps("qdrop")[1] == {"type": "QDrop", "preset": "fast"}
    ranges, qdrop = steps("qdrop", "resnet20")
    assert (ranges["weight"]["p"], qdrop["iters"], qdrop["batch_size"]) == (2.4, 1000, 32)


def test_modes_of_bit_shrinking_differ_in_the_mode_alone(steps):
    assert steps("bitshrink")[1] == {"type": "BitShrinking", "preset": "fast"}
    assert steps("direct")[1] == {**steps("bitshrink")[1], "mode": "direct"}


def test_iterations_and_options_go_to_the_steps_that_take_them(steps):
    assert steps("bitshrink@50:stops=2:tau=0.1")[1] == {
        "type": "BitShrinking",
        "preset": "fast",
        "iters": 50,
        "stops": 2,
        "tau": 0.1,
    }
    brecq = steps("brecq@50:lr_step=0.01")
    assert [step.get("iters") for step in brecq] == [None, 50, 50]
    assert [step.get("lr_step") for step in brecq] == [None, 0.01, 0.01]
    assert steps("bitshrink:check_images=0") == steps("bitshrink")
    assert steps("lapq:bounds=(0.5,2)")[1]["bounds"] == (0.5, 2)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("adaround@1000", 0.01), ("adaround@20", 0.1), ("adaround@1000:lr_rounding=0.5", 0.5)],
)
def test_a_rounding_goes_its_way_in_fewer_iterations(steps, text, rate):
    assert steps(text)[1]["lr_rounding"] == rate


def test_iterations_for_all_are_for_those_that_iterate(specs):
    given = ["mmse", "bitshrink", "direct@300", "lapq_bitshrink", "bitshrink@1000"]
    found = specs.find_specs(given, 1000)
    names = ["mmse", "bitshrink@1000", "direct@300", "lapq_bitshrink@1000"]
    assert [spec.name for spec in found] == names


@pytest.mark.parametrize("model", ["demo_retinanet", "resnet20"])
def test_lapq_reads_labels_or_does_not(specs, steps, model):
    methods = ("lapq", "lapq_no_labels", "mmse", "bitshrink")
    assert [specs.reads_labels(steps(m, model)) for m in methods] == [True, False, False, False]


def test_parts_of_lapq_are_in_the_order_in_which_they_act(steps):
    types = [step["type"] for step in steps("lapq_from_random")]
    assert types == ["RandomRanges", "JointSearch"]
    assert [step["type"] for step in steps("lapq_bias")][0] == "BiasCorrection"
    assert [step["type"] for step in steps("lapq_then_bias")][-1] == "BiasCorrection"
    assert steps("lapq_layerwise") == [{**steps("lapq_quadratic")[0], "interpolate": False}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bitshrnk", r"no method 'bitshrnk'; did you mean bitshrink\? Known: minmax, "),
        ("bitshrink@many", "bitshrink@many: behind @ stands the number of iterations"),
        ("bitshrink@0", "bitshrink@0: behind @ stands"),
        ("bitshrink:stops", r"'stops' must have the form OPTION=VALUE"),
        ("mmse@300", r"none of its steps \(RangeCalibration\) takes iters"),
        ("bitshrink:hops=3", r"none of its steps .*takes hops; they take .*stops"),
        ("bitshrink:tau=-1", r"BitShrinking.tau = -1: must be positive"),
    ],
)
def test_what_cannot_be_is_refused(steps, text, said):
    with pytest.raises(ConfigError, match=said):
        steps(text)
