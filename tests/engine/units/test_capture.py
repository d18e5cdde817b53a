from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmptq.engine import CalibrationContext
from mmptq.engine.incremental.probing import call_graph, float_form
from mmptq.engine.units.capture import UnitCapture
from mmptq.engine.units.unit_data import FLOAT_IN, FLOAT_OUT, QUANT_IN, CacheSettings
from mmptq.engine.units.units import Unit, find_units
from mmptq.modules import QuantLayer
from tests.calibration_support import MakeContext, make_context

__all__ = ["make_context"]


def make_capture(
    context: CalibrationContext, granularity: str = "block", **cache: Any
) -> tuple[UnitCapture, list[Unit]]:
    graph = call_graph(context.model, context.adapter)
    units = find_units(context.model, context.adapter, graph, granularity)
    return UnitCapture(context, units, graph, CacheSettings(**cache)), units


@torch.no_grad()
def full_pass(
    context: CalibrationContext, unit: Unit, frozen: dict[int, Any]
) -> list[list[tuple[Tensor, Tensor]]]:
    """Inputs and outputs of a unit's calls for each image, from whole passes of the model."""
    model, found = context.model, []
    module = model.model.get_submodule(unit.name)
    for position, batch in context.data:
        batch = model.data_preprocessor(batch, False)
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        handles = [
            module.register_forward_pre_hook(lambda m, a, i=inputs: i.append(a[0].clone())),
            module.register_forward_hook(lambda m, a, y, o=outputs: o.append(y.clone())),
        ]
        model.start_pass()
        context.adapter.head_outputs(batch["inputs"], frozen[position])
        for handle in handles:
            handle.remove()
        found.append(list(zip(inputs, outputs, strict=True)))
    return found


@torch.no_grad()
def change(context: CalibrationContext, unit: Unit) -> None:
    """Stands for a reconstruction: weights and steps are no longer what they were."""
    for name in unit.layers:
        layer = context.model.model.get_submodule(name)
        assert isinstance(layer, QuantLayer)
        layer.weight.mul_(1.03)
    for site in unit.sites:
        context.model.sites[site].scale.mul_(1.1)


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize("max_gb", [4.0, 1e-6])
def test_every_unit_gets_what_whole_passes_give(
    make_context: MakeContext, name: str, max_gb: float
) -> None:
    """Float data of the float model, quantized input behind units that have been changed."""
    context, pristine = make_context(name), make_context(name, folder="b")
    capture, units = make_capture(context, max_gb=max_gb)
    for index, unit in enumerate(units):
        data = capture.float_data(index)
        capture.add_quantized(index, data)
        with float_form(pristine.model):
            expected = full_pass(pristine, unit, capture.frozen)
        quantized = full_pass(context, unit, capture.frozen)
        for image in range(2):
            assert data.num_calls == len(expected[image])
            for call, (x, y) in enumerate(expected[image]):
                assert torch.equal(data.get(FLOAT_IN, image, call), x)
                y = y.relu() if unit.relu else y
                assert torch.equal(data.get(FLOAT_OUT, image, call), y)
                assert torch.equal(data.get(QUANT_IN, image, call), quantized[image][call][0])
                assert data.shape(QUANT_IN, image, call) == x.shape
        change(context, unit)
    assert (data.store.bytes_on_disk > 0) == (max_gb < 1)


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_starting_in_the_middle_gives_the_same(make_context: MakeContext, name: str) -> None:
    """As after a resume: float data first, then the finished units, then the quantized input."""
    whole, resumed = make_context(name), make_context(name, folder="b")
    capture, units = make_capture(whole)
    middle = len(units) // 2
    for index in range(middle + 2):
        data = capture.float_data(index)
        capture.add_quantized(index, data)
        if index <= middle:
            change(whole, units[index])
    other, _ = make_capture(resumed)
    for index in (middle, middle + 1):
        again = other.float_data(index)
        if index == middle:
            for unit in units[:middle]:
                change(resumed, unit)
        other.add_quantized(index, again)
        if index == middle:
            change(resumed, units[middle])
    for kind in (FLOAT_IN, FLOAT_OUT, QUANT_IN):
        for image in range(2):
            for call in range(data.num_calls):
                assert torch.equal(data.get(kind, image, call), again.get(kind, image, call))


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_nothing_is_computed_again_for_a_later_unit(make_context: MakeContext, name: str) -> None:
    """A layer call runs once an image in each network, and once more to learn all shapes."""
    context = make_context(name)
    capture, units = make_capture(context)
    runs: Counter[str] = Counter()

    def counted(layer: str, inner: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def quantize_input(x: Tensor) -> Tensor:
            runs[layer] += 1
            return inner(x)

        return quantize_input

    for layer, module in context.model.quant_layers():
        module.quantize_input = counted(layer, module.quantize_input)  # type: ignore[method-assign]
    freeze = context.adapter.freeze

    def freeze_uncounted(*args: Any) -> Any:
        before = runs.copy()
        frozen = freeze(*args)
        runs.clear()
        runs.update(before)
        return frozen

    context.adapter.freeze = freeze_uncounted  # type: ignore[method-assign]
    for index in range(len(units)):
        capture.add_quantized(index, capture.float_data(index))
    images = len(context.data)
    for index, unit in enumerate(units):
        for layer in unit.layers:
            once = images * len(unit.calls)
            assert runs[layer] <= (3 if index else 2) * once, layer


def test_the_fronts_hold_only_what_layers_ahead_read(make_context: MakeContext) -> None:
    context = make_context("retinanet")
    capture, units = make_capture(context)
    sizes = []
    for index in range(len(units)):
        capture.add_quantized(index, capture.float_data(index))
        sizes.append(capture.bytes_in_memory)
    # At the end only the towers' outputs are left: 2 networks x 5 levels x 16 channels.
    assert sizes[-1] < max(sizes)
    fpn = 2 * sum(16 * h * w for h, w in ((12, 16), (6, 8), (3, 4), (2, 2), (1, 1))) * 4 * 2
    assert sizes[-1] <= 2 * fpn


def test_half_precision_takes_half_the_space(make_context: MakeContext) -> None:
    context = make_context("retinanet")
    (single, _), (half, _) = make_capture(context), make_capture(context, dtype="float16")
    a, b = single.float_data(0), half.float_data(0)
    assert b.store.bytes_in_memory * 2 == a.store.bytes_in_memory
    torch.testing.assert_close(a.get(FLOAT_OUT, 0, 0), b.get(FLOAT_OUT, 0, 0), rtol=1e-3, atol=1e-3)
    assert b.get(FLOAT_OUT, 0, 0).dtype == torch.float32
