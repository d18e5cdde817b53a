"""What a runtime makes of an exported model, beside the simulation."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from mmptq.export.detections import Detections, Likeness, likeness
from mmptq.export.float64 import Float64
from mmptq.export.layer_check import check_layers
from mmptq.export.network import SessionNetwork
from mmptq.export.parts import Example, NetworkPart, Part
from mmptq.export.verification import Verification
from mmptq.models import QuantModel
from mmptq.runtime import Session, open_session

# Of the latency: at most so many, fewer where that takes longer than this.
_RUNS, _LEAST_RUNS, _SECONDS = 10, 3, 5.0


def verify(
    part: Part,
    model: QuantModel,
    exported: onnx.ModelProto,
    paths: tuple[Path, Path],
    runtime: str,
    examples: Sequence[Example],
) -> Verification:
    """Run images through the runtime and the simulation.

    Args:
        part: What was exported.
        model: Which it is a part of.
        exported: The graph.
        paths: Files of the quantized and of the float graph.
        runtime: Key of :data:`mmptq.runtime.RUNTIMES`.
        examples: Preprocessed images.
    """
    found = Verification(runtime, part.name)
    found.layers = check_layers(model, part, exported, runtime, examples[0])
    # One after the other: a large detector in float64 needs as much memory as both sessions.
    simulated = compare_with_itself(found, part, examples)
    quantized, plain = (open_session(path, runtime) for path in paths)
    compare_outputs(found, part, quantized, examples, simulated)
    found.integers, found.products = quantized.integer_products()
    found.megabytes, found.float_megabytes = (path.stat().st_size / 1e6 for path in paths)
    sessions = quantized, plain
    found.milliseconds, found.float_milliseconds = _latencies(part, sessions, examples[0])
    return found


def compare_with_itself(
    found: Verification, part: Part, examples: Sequence[Example]
) -> list[Detections]:
    """Fill in how near to the simulation the simulation in float64 is.

    Returns:
        What the simulation finds in each image.
    """
    exact = Float64(part)
    simulated = [part.detections(example) for example in examples]
    pairs = zip(simulated, examples, strict=True)
    itself = [likeness(own, exact.detections(example)) for own, example in pairs]
    found.images, found.float64_close = len(examples), sum(one.close for one in itself)
    found.float64_agreement = _mean(one.agreement for one in itself)
    if isinstance(part, NetworkPart):
        found.float64_distance = _mean(_distance(part, exact.outputs, x) for x in examples)
    return simulated


def compare_outputs(
    found: Verification,
    part: Part,
    session: Session,
    examples: Sequence[Example],
    simulated: Sequence[Detections],
) -> None:
    """Fill in how near to the simulation the runtime is."""
    network = SessionNetwork(session, part.inputs)
    real: list[Likeness] = []
    for example, own in zip(examples, simulated, strict=True):
        with part.computed_by(network, example):
            real.append(likeness(own, part.detections(example)))
    found.close = sum(one.close for one in real)
    found.agreement = _mean(one.agreement for one in real)
    found.score_difference = max(one.score for one in real)
    found.box_difference = max(one.box for one in real)
    if isinstance(part, NetworkPart):

        def compute(example: Example) -> Sequence[Tensor]:
            return network(*part.arguments(example))

        found.distance = _mean(_distance(part, compute, example) for example in examples)


@torch.no_grad()
def _distance(
    part: NetworkPart, compute: Callable[[Example], Sequence[Tensor]], example: Example
) -> float:
    """Of what ``compute`` returns to the simulation's outputs."""
    outputs = part(*part.arguments(example))
    return _relative(part.output_names(example), outputs, compute(example))


def _relative(names: Sequence[str], outputs: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Mean over the kinds of outputs; the levels of a kind are one, however small the last is."""
    kinds: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, y, other in zip(names, outputs, others, strict=True):
        pair = y.double().flatten(), other.double().flatten()
        kinds.setdefault(name.partition("_level")[0], []).append(pair)
    shares = []
    for pairs in kinds.values():
        y, other = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
        spread = float((y - y.mean()).square().sum())
        shares.append(float((other - y).square().sum()) / max(spread, 1e-12))
    return _mean(shares)


def _latencies(part: Part, sessions: Sequence[Session], example: Example) -> list[float]:
    """Milliseconds of the fastest run of each session; they take turns."""
    networks = [SessionNetwork(session, part.inputs) for session in sessions]
    start = time.perf_counter()
    for done in range(_RUNS):
        if done >= _LEAST_RUNS and time.perf_counter() - start > _SECONDS:
            break
        for network in networks:
            network(*part.arguments(example))
    return [1000 * min(network.seconds) for network in networks]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
