"""A float graph beside the float model: before anything is quantized, both find the same."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
from torch.nn import functional

from mmptq.errors import ConfigError, MmptqError
from mmptq.export.detections import likeness
from mmptq.export.float64 import Float64
from mmptq.export.network import SessionNetwork
from mmptq.export.parts import INPUT, SIZE, Example, Part
from mmptq.runtime import open_session

# Share of detections that both have. Rounding moves some across thresholds, and what overlaps
# them in or out: of models with nearly equal scores so many that their own form in float64 finds
# other things, which then is the measure.
LEAST = 0.9
MARGIN = 0.1
_FIXED = (
    "the model computes with sizes in a way that the exporter fixes to its example's, so that the "
    "file would take images of one size only; export it with --static, for images of the size of "
    "the first test image"
)


def check_graph(
    part: Part, exported: onnx.ModelProto, runtime: str, examples: Sequence[Example], static: bool
) -> None:
    """Make sure that the float form of a model and its graph find the same in images.

    A tracer writes down what happened to its example: branches that were not taken are gone, and
    what Python computed of sizes is a number. Then outputs are others, or have another shape, which
    not every runtime notices.

    Args:
        part: Of a model that is in its float form.
        exported: Its graph.
        runtime: Key of :data:`mmptq.runtime.RUNTIMES`.
        examples: Preprocessed images.
        static: Whether the graph is for images of their size alone.

    Raises:
        MmptqError: They do not.
        ConfigError: They do for the examples' size only, and ``static`` is not set.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(exported, str(path))
        network = SessionNetwork(open_session(path, runtime, threads=1), part.inputs)
    found = _mean(_agreement(part, network, example) for example in examples)
    if found < LEAST and found < (own := _own_agreement(part, examples)) - MARGIN:
        raise MmptqError(
            f"the graph of {type(part.model).__name__} finds other things in the images than the "
            f"model does ({found:.0%} of the detections are in both, {own:.0%} in those of the "
            "model in float32 and float64): its code cannot be traced; of detectors of one stage "
            "--part heads can be exported"
        )
    if not static:
        _check_sizes(part, network, examples[0])


def _check_sizes(part: Part, network: SessionNetwork, example: Example) -> None:
    """Make sure that a graph takes another size than its example's.

    Raises:
        ConfigError: It does not.
    """
    other = {**example, INPUT: functional.pad(example[INPUT], (0, 64, 0, 32))}
    other[SIZE] = example[SIZE] + example[SIZE].new_tensor([32, 64])
    try:
        part.detections(other)
    except Exception:  # noqa: BLE001  the model itself takes one size, and says so in its own way
        return
    try:
        found = _agreement(part, network, other)
    except Exception as error:  # of the runtime, or of code that gets another shape
        raise ConfigError(_FIXED) from error
    if found < LEAST and found < _own_agreement(part, [other]) - MARGIN:
        raise ConfigError(_FIXED)


def _agreement(part: Part, network: SessionNetwork, example: Example) -> float:
    simulated = part.detections(example)
    with part.computed_by(network, example):
        return likeness(simulated, part.detections(example)).agreement


def _own_agreement(part: Part, examples: Sequence[Example]) -> float:
    """Of the model with itself in float64; 1 where it computes in float32 alone."""
    exact = Float64(part)
    try:
        return _mean(
            likeness(part.detections(example), exact.detections(example)).agreement
            for example in examples
        )
    except RuntimeError:
        return 1.0


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
