"""All methods on small detectors: better than rounding to nearest, reloadable, logged."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from mmptq.algorithms import BitShrinking
from mmptq.engine.incremental.probing import float_form
from mmptq.errors import ConfigError
from mmptq.models import QuantDetector
from mmptq.modules import out_channels
from tests.calibration_support import MakeContext, make_context
from tests.steps_support import (
    METHODS,
    SMALL,
    make_step,
    run,
    same,
    state,
    summary,
)

__all__ = ["make_context"]


@pytest.mark.parametrize("method", METHODS)
def test_better_than_rounding_to_nearest_on_its_own_objective(
    make_context: MakeContext, method: str
) -> None:
    context, step = make_context("retinanet", qconfig=SMALL), make_step(method)
    start = state(context)
    flags = {p: p.requires_grad for p in context.model.parameters()}
    run(context, step)
    units = summary(context, step)
    assert {"backbone.conv1", "neck.lateral_convs.2", "bbox_head.cls_convs.0"} <= {
        unit["name"] for unit in units
    }
    assert all(unit["after"] <= unit["before"] for unit in units)
    ratios = {unit["name"]: unit["after"] / unit["before"] for unit in units}
    if method == "learned_steps":  # has little to gain over MMSE ranges
        assert min(ratios.values()) < 1.0
    else:
        assert sum(ratios.values()) / len(ratios) < 0.95
    # Nothing of the loop is left behind.
    assert {p: p.requires_grad for p in context.model.parameters()} == flags
    assert all(q.enabled for q in context.model.sites.values())
    assert context.model.state_dict().keys() == start.keys()
    weights = [key for key in start if key.endswith("conv.weight") or ".conv1.weight" in key]
    changed = [key for key in weights if not torch.equal(start[key], state(context)[key])]
    assert bool(changed) == (method != "learned_steps")


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_whole_detectors(make_context: MakeContext, name: str, raw: Any, image: Tensor) -> None:
    """The outputs come nearer to the float model's; the checkpoint reloads bit for bit."""
    before, context = make_context(name), make_context(name, folder="b")
    with float_form(before.model):
        target = raw(before.model, image)
    run(context, BitShrinking(preset="fast", iters=8, batch_size=2, probe_images=2, lr_weight=3e-3))
    learned = raw(context.model, image)
    if name == "retinanet":  # a two-stage model's regions differ

        def error(outputs: list[Tensor]) -> float:
            return sum(float((a - b).square().mean()) for a, b in zip(outputs, target, strict=True))

        assert error(learned) < error(raw(before.model, image))
    torch.save(context.model.state_dict(), context.store.folder / "saved.pth")
    saved = torch.load(context.store.folder / "saved.pth", weights_only=True)
    fresh = make_context(name, folder="c", ranges=False).model
    assert isinstance(fresh, QuantDetector)
    fresh.load_state_dict(saved)
    for a, b in zip(learned, raw(fresh.eval(), image), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", ["adaround", "qdrop", "rounded", "fisher"])
def test_with_biases_and_outputs_of_a_runtime(make_context: MakeContext, method: str) -> None:
    qconfig = {**SMALL, "overrides": [], "target": "onnxruntime"}
    context = make_context("retinanet", qconfig=qconfig)
    assert context.model.plan is not None and context.model.plan.int32_bias
    before = state(context)
    after = run(context, make_step(method, iters=6))
    step = "backbone.layer2.0.conv2.output.input_quantizers.0.scale"
    (step,) = (key for key in after if key.endswith(step))
    assert torch.equal(before[step], after[step]) == (method in ("adaround", "fisher"))
    fresh = make_context("retinanet", qconfig=qconfig, folder="fresh")
    fresh.model.load_state_dict(after)
    assert same(state(fresh), after)


def test_one_seed_one_result(make_context: MakeContext) -> None:
    step = make_step("shrink", iters=10, drop_prob=0.5)
    first = run(make_context("retinanet", qconfig=SMALL), step)
    assert same(first, run(make_context("retinanet", qconfig=SMALL, folder="b"), step))
    torch.manual_seed(1)
    other = make_context("retinanet", qconfig=SMALL, folder="c")
    step.run(other)
    assert not same(first, state(other))


def test_logs_and_plots(make_context: MakeContext) -> None:
    context, step = make_context("retinanet", qconfig=SMALL), make_step("shrink", log_interval=5)
    run(context, step)
    folder = context.store.folder.parent / "reconstruction/BitShrinking"
    lines = (folder / "backbone.layer3.0.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    stops = [row for row in rows if row.get("event") == "stop"]
    assert {"iteration", "b_w", "b_a", "R", "S", "instant_S", "forced"} <= stops[0].keys()
    assert [row["iteration"] for row in rows if "loss" in row] == [0, 5, 10, 15]
    assert rows[-1]["b_w"] == rows[-1]["b_a"] == 4.0
    assert (folder / "backbone.layer3.0.png").read_bytes().startswith(b"\x89PNG")
    text = (folder / "summary.txt").read_text()
    assert "backbone.layer3.0" in text
    assert text.splitlines()[-1].startswith("all")


def test_curves_are_recorded_while_a_unit_runs(make_context: MakeContext) -> None:
    context, step = make_context("retinanet", qconfig=SMALL), make_step("shrink", log_interval=5)
    folder = context.store.folder.parent / "reconstruction/BitShrinking"
    seen: dict[str, list[tuple[int, float]]] = {}

    def record(tag: str, values: Mapping[str, float], iteration: int) -> None:
        assert all(type(value) is float for value in values.values())
        if "R" in values:
            seen.setdefault(tag, []).append((iteration, values["R"]))
        # The log's file is up to date, the unit is not finished.
        unit = tag.removeprefix("BitShrinking/")
        last = json.loads((folder / f"{unit}.jsonl").read_text().splitlines()[-1])
        assert last["iteration"] == iteration
        assert not (folder / f"{unit}.png").exists()

    context.record = record
    run(context, step)
    assert len(seen) == 5
    for tag, points in seen.items():
        text = (folder / f"{tag.removeprefix('BitShrinking/')}.jsonl").read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        assert points == [(row["iteration"], row["R"]) for row in rows if "R" in row]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_as_well(make_context: MakeContext, precision: str) -> None:
    """Near the result in single precision, but not the same."""
    ends = {}
    for name in ("float32", precision):
        context = make_context("retinanet", qconfig=SMALL, folder=name)
        step = make_step("qdrop", iters=10, precision=name)
        run(context, step)
        ends[name] = [unit["after"] / unit["before"] for unit in summary(context, step)]
    assert ends["float32"] != ends[precision]
    assert sum(ends[precision]) == pytest.approx(sum(ends["float32"]), rel=0.1)
    assert sum(ends[precision]) / len(ends[precision]) < 0.95


def test_adaptive_rounding_decides_every_weight(make_context: MakeContext) -> None:
    """The rounding begins late, and each weight ends on its grid."""
    context, step = make_context("retinanet", qconfig=SMALL), make_step("rounded", log_interval=1)
    run(context, step)
    folder = context.store.folder.parent / "reconstruction/BitShrinking"
    text = (folder / "backbone.layer3.0.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    (begin,) = [row["iteration"] for row in rows if row.get("event") == "rounding"]
    assert begin == 12
    assert all(("settled" in row) == (row["iteration"] >= begin) for row in rows if "loss" in row)
    improved = [u["name"] for u in summary(context, step) if u["after"] < u["before"]]
    assert len(improved) >= 3
    for name, layer in context.model.quant_layers():
        if any(name.startswith(unit) for unit in improved):  # else it is as it was
            assert layer.weight_quantizer is not None
            assert torch.equal(layer.weight_quantizer(layer.weight), layer.weight)


def test_a_unit_that_got_worse_is_left_as_it_was(make_context: MakeContext) -> None:
    context = make_context("retinanet", qconfig=SMALL)
    start = state(context)
    step = make_step("direct", iters=3, lr_weight=30.0)
    after = run(context, step)
    assert all(unit["after"] <= unit["before"] for unit in summary(context, step))
    key = next(key for key in start if key.endswith("layer3.1.conv2.weight"))
    assert torch.equal(start[key], after[key])


def test_corrections_are_dropped(make_context: MakeContext) -> None:
    context = make_context("retinanet", qconfig=SMALL)
    layer = dict(context.model.quant_layers())["backbone.layer3.0.conv1"]
    layer.set_weight_correction("mean")
    layer.set_bias_correction(torch.ones(out_channels(layer)))
    run(context, make_step("qdrop", iters=2))
    assert layer.weight_correction is None and layer.bias_correction is None


def test_ranges_must_be_there(make_context: MakeContext) -> None:
    context = make_context("retinanet", ranges=False)
    with pytest.raises(ConfigError, match="put RangeCalibration before it"):
        make_step("qdrop").run(context)


def test_bit_shrinking_arguments() -> None:
    for arguments, message in (
        (dict(mode="fast"), "BitShrinking.mode = 'fast': must be one of shrink, direct, progr"),
        (dict(tau=0), "BitShrinking.tau = 0: must be positive"),
        (dict(b0=20), r"BitShrinking.b0 = 20: must be in \[1, 16\]"),
        (dict(iters=2), "BitShrinking.iters = 2: must be 3 or more for mode 'shrink'"),
        (dict(iters=8, mode="progressive"), "must be 9 or more for mode 'progressive'"),
        (dict(stops=0), "BitShrinking.stops = 0"),
        (dict(adaptive_rounding=1.0), r"BitShrinking.adaptive_rounding = 1.0: must be in \[0, 1\)"),
        (dict(precision="half"), "BitShrinking.precision = 'half': must be one of float32, bfl"),
        (dict(lr_schedule="cosine"), "BitShrinking.lr_schedule = 'cosine'"),
    ):
        with pytest.raises(ConfigError, match=message):
            BitShrinking(**arguments)  # type: ignore[arg-type]
