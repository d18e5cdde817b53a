"""What a runtime makes of an exported model, beside the simulation."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from mmptq.export.detections import Likeness, likeness
from mmptq.export.float64 import Float64
from mmptq.export.layer_check import check_layers
from mmptq.export.network import SessionNetwork
from mmptq.export.parts import Example, NetworkPart, Part
from mmptq.export.verification import Verification
from mmptq.models import QuantModel
from mmptq.runtime import Session, open_session


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
    found.layers = list(check_layers(model, part, exported, runtime, examples[0]))
    quantized, plain = (open_session(path, runtime) for path in paths)
    compare_outputs(found, part, quantized, examples)
    found.integers, found.products = quantized.integer_products()
    found.megabytes, found.float_megabytes = (path.stat().st_size / 1e6 for path in paths)
    sessions = quantized, plain
    found.milliseconds, found.float_milliseconds = _latencies(part, sessions, examples[0])
    return found


def compare_outputs(
    found: Verification, part: Part, session: Session, examples: Sequence[Example]
) -> None:
    """Fill in how near to the simulation the runtime is, and the simulation in float64."""
    network = SessionNetwork(session, part.inputs)
    exact = Float64(part)
    real: list[Likeness] = []
    itself: list[Likeness] = []
    distances: list[tuple[float, float]] = []
    for example in examples:
        simulated = part.detections(example)
        with part.computed_by(network, example):
            real.append(likeness(simulated, part.detections(example)))
        itself.append(likeness(simulated, exact.detections(example)))
        if isinstance(part, NetworkPart):
            distances.append(_distances(part, network, exact, example))
    found.images = len(examples)
    found.close, found.float64_close = (sum(one.close for one in each) for each in (real, itself))
    found.score_difference = max(one.score for one in real)
    found.box_difference = max(one.box for one in real)
    if distances:
        found.distance, found.float64_distance = map(_mean, zip(*distances, strict=True))


@torch.no_grad()
def _distances(
    part: NetworkPart, network: SessionNetwork, exact: Float64, example: Example
) -> tuple[float, float]:
    """Of the runtime, and of the float64 simulation, to the simulation."""
    names, inputs = part.output_names(example), part.arguments(example)
    outputs = part(*inputs)
    others = network(*inputs), exact.outputs(example)
    first, second = (_distance(names, outputs, other) for other in others)
    return first, second


def _distance(names: Sequence[str], outputs: Sequence[Tensor], others: Sequence[Tensor]) -> float:
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


def _latencies(
    part: Part, sessions: Sequence[Session], example: Example, runs: int = 10
) -> list[float]:
    """Milliseconds of the fastest run of each session; they take turns."""
    networks = [SessionNetwork(session, part.inputs) for session in sessions]
    for _ in range(runs):
        for network in networks:
            network(*part.arguments(example))
    return [1000 * min(network.seconds) for network in networks]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
