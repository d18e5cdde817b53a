"""Each layer of an exported model alone in its runtime, beside the simulation."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from mmptq.errors import MmptqError
from mmptq.export.layers import CutLayer, cut_layers
from mmptq.export.parts import Example, Part
from mmptq.models import QuantModel
from mmptq.modules import QuantLayer
from mmptq.runtime import open_session


@dataclass(frozen=True)
class LayerCheck:
    """One layer in the runtime, on the input that it has in the simulation.

    Args:
        name: Module name in the model.
        call: Which of its calls in a pass.
        equal: Share of outputs with the simulation's code (of floats: within a 255th of the
            largest one).
        far: Share that is off by more than one step.
        largest: Largest difference in steps.
    """

    name: str
    call: int
    equal: float
    far: float
    largest: float


@torch.no_grad()
def check_layers(
    model: QuantModel, part: Part, exported: onnx.ModelProto, runtime: str, example: Example
) -> list[LayerCheck]:
    """Each layer alone in the runtime, on what it reads in the simulation.

    Raises:
        MmptqError: The graph holds other layers than the simulation runs.
    """
    cuts, calls = list(cut_layers(exported)), count()
    _each_call(model, part, example, lambda *_: next(calls))
    if (number := next(calls)) != len(cuts):
        raise MmptqError(
            f"the graph has {len(cuts)} quantized layers, the simulation runs {number}"
        )
    checks: list[LayerCheck] = []

    def check(name: str, call: int, x: Tensor, y: Tensor) -> None:
        # At once: the tensors of all layers together are gigabytes.
        checks.append(_check_layer(name, call, x, y, cuts[len(checks)], runtime))

    _each_call(model, part, example, check)
    return checks


def _check_layer(
    name: str, call: int, x: Tensor, y: Tensor, cut: CutLayer, runtime: str
) -> LayerCheck:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        onnx.save(cut.model_for(x.shape), str(path))
        output = open_session(path, runtime, threads=1).run({"x": x.numpy()})["y"]
    expected = cut.expected(y.numpy().astype(np.float64))
    step = 1.0 if cut.codes is not None else float(np.abs(expected).max()) / 255 or 1.0
    steps = np.abs(output.astype(np.float64) - expected) / step
    equal = steps < (0.5 if cut.codes is not None else 1.0)
    return LayerCheck(
        name, call, float(equal.mean()), float((steps > 1.5).mean()), float(steps.max())
    )


def _each_call(
    model: QuantModel,
    part: Part,
    example: Example,
    seen: Callable[[str, int, Tensor, Tensor], object],
) -> None:
    """Input and output of every call of a layer with both operands quantized, in order."""
    handles = []

    def watch(name: str) -> Any:
        def hook(layer: QuantLayer, args: Any, output: Tensor) -> None:
            reader, call = layer.reader(layer.calls - 1), layer.calls - 1
            if reader is not None and reader.enabled:
                seen(name, call, layer.divided(args[0]), output)

        return hook

    for name, layer in model.quant_layers():
        if layer.weight_quantizer is not None and layer.weight_quantizer.enabled:
            handles.append(layer.register_forward_hook(watch(name)))
    try:
        part(*part.arguments(example))
    finally:
        for handle in handles:
            handle.remove()
