"""What a runtime makes of an exported model, beside the simulation."""

import copy
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from mmptq.errors import ConfigError, MmptqError
from mmptq.export.layers import CutLayer, cut_layers
from mmptq.export.parts import INPUT, Part
from mmptq.models import QuantModel
from mmptq.modules import QuantLayer
from mmptq.runtime import Session, open_session

# Of a layer's outputs on equal inputs; ties of rounding are off by one step, and rare.
FAR_LIMIT = 1e-3
_SHOWN = 5
_FIXED = (
    "the model computes with sizes in a way that the exporter fixes to its example's, so that the "
    "file would take images of one size only; export it with --static, for images of the size of "
    "the first test image"
)


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


@dataclass
class Verification:
    """Everything that the end of an export tells.

    Args:
        runtime: Name.
        layers: One an executed layer.
        distance: Share of the outputs' variance by which the runtime differs from the simulation,
            a mean over images and kinds of outputs.
        float64_distance: The same of the simulation in float64, which nothing but rounding edges
            separates from the simulation in float32.
        integers: Products that the runtime computes in integers.
        products: All of them.
        megabytes: Of the file.
        float_megabytes: Of the float model's.
        milliseconds: Of one image, the fastest of some runs.
        float_milliseconds: Of the float model in the same runtime.
    """

    runtime: str
    layers: list[LayerCheck] = field(default_factory=list)
    distance: float = 0.0
    float64_distance: float = 0.0
    integers: int = 0
    products: int = 0
    megabytes: float = 0.0
    float_megabytes: float = 0.0
    milliseconds: float = 0.0
    float_milliseconds: float = 0.0

    @property
    def saturated(self) -> list[LayerCheck]:
        """Layers that the runtime computes wrongly, the worst first."""
        return sorted((c for c in self.layers if c.far > FAR_LIMIT), key=lambda c: -c.far)

    def raise_for_layers(self) -> None:
        """Make sure that the runtime computes what the simulation does.

        Raises:
            MmptqError: It does not, as where 8-bit products saturate.
        """
        wrong = self.saturated
        if wrong:
            worst = ", ".join(f"{c.name} ({c.far:.1%} of outputs)" for c in wrong[:_SHOWN])
            raise MmptqError(
                f"{self.runtime} computes {len(wrong)} of {len(self.layers)} layers otherwise than "
                f"the simulation, by up to {max(c.largest for c in wrong):.0f} steps: {worst}. On "
                "CPUs without VNNI products of 8-bit weights saturate: quantize with "
                "configs/_base_/quant/w8a8_cpu.py (7-bit weights)"
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def table(self) -> Table:
        """The summary."""
        table = Table(title=f"exported model in {self.runtime}", title_justify="left")
        table.add_column("")
        table.add_column("quantized", justify="right")
        table.add_column("float", justify="right")
        checks = self.layers
        equal = min((c.equal for c in checks), default=1.0)
        rows = [
            ("file, MB", f"{self.megabytes:.2f}", f"{self.float_megabytes:.2f}"),
            ("one image, ms", f"{self.milliseconds:.1f}", f"{self.float_milliseconds:.1f}"),
            ("products in integers", f"{self.integers} of {self.products}", ""),
            ("layers with the simulation's codes, least share", f"{equal:.2%}", ""),
            ("layers off by more than a step", f"{len(self.saturated)} of {len(checks)}", ""),
            ("outputs: distance to the simulation", f"{self.distance:.2g}", ""),
            ("  simulation in float64, to the same", f"{self.float64_distance:.2g}", ""),
        ]
        for row in rows:
            table.add_row(*row)
        return table


def verify(
    part: Part,
    model: QuantModel,
    exported: onnx.ModelProto,
    paths: tuple[Path, Path],
    runtime: str,
    images: Sequence[Tensor],
) -> Verification:
    """Run images through the runtime and the simulation.

    Args:
        part: What was exported.
        model: Which it is a part of.
        exported: The graph.
        paths: Files of the quantized and of the float graph.
        runtime: Key of :data:`mmptq.runtime.RUNTIMES`.
        images: Preprocessed, ``(1, 3, H, W)`` each.
    """
    found = Verification(runtime)
    found.layers = list(check_layers(model, part, exported, runtime, images[0]))
    quantized, plain = (open_session(path, runtime) for path in paths)
    found.distance = _mean(_distances(part, quantized, images))
    found.float64_distance = _mean(_float64_distances(part, images))
    found.integers, found.products = quantized.integer_products()
    found.megabytes, found.float_megabytes = (path.stat().st_size / 1e6 for path in paths)
    found.milliseconds, found.float_milliseconds = _latencies((quantized, plain), images[0])
    return found


@torch.no_grad()
def check_layers(
    model: QuantModel, part: Part, exported: onnx.ModelProto, runtime: str, image: Tensor
) -> Iterable[LayerCheck]:
    """Each layer alone in the runtime, on what it reads in the simulation.

    Raises:
        MmptqError: The graph holds other layers than the simulation runs.
    """
    seen = _calls(model, part, image)
    cuts = list(cut_layers(exported))
    if len(cuts) != len(seen):
        raise MmptqError(
            f"the graph has {len(cuts)} quantized layers, the simulation runs {len(seen)}"
        )
    for (name, call, x, y), cut in zip(seen, cuts, strict=True):
        yield _check_layer(name, call, x, y, cut, runtime)


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


def _calls(model: QuantModel, part: Part, image: Tensor) -> list[tuple[str, int, Tensor, Tensor]]:
    """Input and output of every call of a layer with both operands quantized, in order."""
    seen: list[tuple[str, int, Tensor, Tensor]] = []
    handles = []

    def watch(name: str) -> Any:
        def hook(layer: QuantLayer, args: Any, output: Tensor) -> None:
            reader, call = layer.reader(layer.calls - 1), layer.calls - 1
            if reader is not None and reader.enabled:
                # A copy: a residual block adds to it in place.
                seen.append((name, call, layer.divided(args[0]), output.clone()))

        return hook

    for name, layer in model.quant_layers():
        if layer.weight_quantizer is not None and layer.weight_quantizer.enabled:
            handles.append(layer.register_forward_hook(watch(name)))
    try:
        part(image)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@torch.no_grad()
def _distances(part: Part, session: Session, images: Sequence[Tensor]) -> Iterable[float]:
    for image in images:
        found = session.run({INPUT: image.numpy()})
        others = [torch.from_numpy(np.array(found[name])) for name in session.outputs]
        yield _distance(part.output_names(image), part(image), others)


@torch.no_grad()
def _float64_distances(part: Part, images: Sequence[Tensor]) -> Iterable[float]:
    exact = copy.deepcopy(part).double()
    for image in images:
        yield _distance(part.output_names(image), part(image), exact(image.double()))


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


@torch.no_grad()
def check_sizes(part: Part, exported: onnx.ModelProto, runtime: str, image: Tensor) -> None:
    """Make sure that a graph for images of any size takes another size than its example's.

    What a model computes from sizes in Python, the exporter writes down as the example's numbers;
    then outputs have another shape, which not every runtime notices.

    Raises:
        ConfigError: It takes the example's size alone.
    """
    other = functional.pad(image, (0, 64, 0, 32))
    try:
        expected = part(other)
    except Exception:  # noqa: BLE001  the model itself takes one size, and says so in its own way
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(exported, str(path))
        session = open_session(path, runtime, threads=1)
    try:
        found = session.run({INPUT: other.numpy()})
    except Exception as error:  # each runtime has exceptions of its own
        raise ConfigError(_FIXED) from error
    shapes = [tuple(np.shape(found[name])) for name in session.outputs]
    if shapes != [tuple(output.shape) for output in expected]:
        raise ConfigError(_FIXED)


def _latencies(sessions: Sequence[Session], image: Tensor, runs: int = 10) -> list[float]:
    """Milliseconds of the fastest run of each session; they take turns."""
    best = [float("inf")] * len(sessions)
    for _ in range(runs):
        for i, session in enumerate(sessions):
            start = time.perf_counter()
            session.run({INPUT: image.numpy()})
            best[i] = min(best[i], 1000 * (time.perf_counter() - start))
    return best


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
