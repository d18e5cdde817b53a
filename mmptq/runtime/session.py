"""One interface to the runtimes that execute an ONNX file."""

import functools
import importlib.util
import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmptq.errors import ConfigError, MmptqError

METADATA_KEY = "mmptq"

# Names of operators in the graphs that the runtimes make of a model.
_INTEGER_PRODUCTS = {"QLinearConv", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat"}
_FLOAT_CONVOLUTIONS = {"Conv", "FusedConv", "ConvTranspose"}
_FLOAT_PRODUCTS = {*_FLOAT_CONVOLUTIONS, "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
_OPENVINO_PRODUCTS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}

Array = np.ndarray


class Session(ABC):
    """A model in a runtime, on the CPU.

    Args:
        path: ONNX file that mmptq wrote.
        threads: CPU threads, by default as many as the runtime likes.

    Attributes:
        metadata: What mmptq wrote about the model into the file.
        inputs: Names.
        outputs: Names.
        sizes: Of each input's dimensions, ``None`` where any will do.

    Raises:
        ConfigError: The runtime is not installed.
        MmptqError: The file cannot be read or executed.
    """

    package: str
    extra: str

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        if not Path(path).is_file():
            raise ConfigError(f"there is no file {path}")
        if importlib.util.find_spec(self.package) is None:
            raise ConfigError(
                f"{self.package} is not installed: pip install mmptq[{self.extra}], or choose "
                f"another runtime among {', '.join(RUNTIMES)}"
            )
        try:
            self._open(str(path), threads)
            text = self._metadata().get(METADATA_KEY)
        except Exception as error:  # each runtime has exceptions of its own
            raise MmptqError(f"{self.package} cannot open {path}: {_reason(error)}") from error
        self.metadata: dict[str, Any] = json.loads(text) if text else {}

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: dict[str, tuple[int | None, ...]]

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, of inputs by name.

        Raises:
            MmptqError: An input has another size than the file takes, or the runtime cannot compute
                the outputs.
        """
        for name, array in arrays.items():
            self._check_size(name, array)
        try:
            return self._run(dict(arrays))
        except Exception as error:  # each runtime has exceptions of its own
            raise MmptqError(f"{self.package} cannot run the model: {_reason(error)}") from error

    def _check_size(self, name: str, array: Array) -> None:
        sizes = self.sizes.get(name, ())
        if any(size not in (None, own) for size, own in zip(sizes, array.shape, strict=False)):
            wanted = "x".join("?" if size is None else str(size) for size in sizes)
            raise MmptqError(
                f"{name} is {'x'.join(map(str, array.shape))}, and the file takes {wanted} alone; "
                "export it without --static, or let the pipeline bring all images to that size"
            )

    @abstractmethod
    def _run(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """What :meth:`run` returns."""

    @abstractmethod
    def integer_products(self) -> tuple[int, int]:
        """How many convolutions and matrix products are computed in integers, and of how many."""

    @abstractmethod
    def _open(self, path: str, threads: int | None) -> None:
        """Load the file; set ``inputs``, ``outputs`` and ``sizes``."""

    @abstractmethod
    def _metadata(self) -> Mapping[str, str]:
        """The file's metadata."""


class OnnxRuntimeSession(Session):
    """ONNX Runtime."""

    package = "onnxruntime"
    extra = "onnx"

    def _run(self, arrays: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(self.outputs, self._session.run(None, arrays), strict=True))

    def integer_products(self) -> tuple[int, int]:
        """Counted in the graph as the runtime has fused it (needs the package onnx)."""
        import onnx
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:
            options = self._options()
            options.optimized_model_filepath = str(Path(folder) / "fused.onnx")
            onnxruntime.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])
            nodes = onnx.load(options.optimized_model_filepath).graph.node
        kinds = [node.op_type for node in nodes]
        integers = sum(kind in _INTEGER_PRODUCTS for kind in kinds)
        return integers, integers + sum(kind in _FLOAT_PRODUCTS for kind in kinds)

    def _open(self, path: str, threads: int | None) -> None:
        import onnxruntime

        self._path = path

        options = self._options()
        if threads:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        self.inputs = tuple(node.name for node in inputs)
        self.sizes = {
            node.name: tuple(size if isinstance(size, int) else None for size in node.shape)
            for node in inputs
        }
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return options

    def _metadata(self) -> Mapping[str, str]:
        return self._session.get_modelmeta().custom_metadata_map


class ReferenceSession(OnnxRuntimeSession):
    """ONNX Runtime, every operator as it stands in the file: what the graph says, in float."""

    def _options(self) -> Any:
        import onnxruntime

        options = super()._options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return options


class OpenVinoSession(Session):
    """OpenVINO. What is not quantized is computed in float32, also where the CPU knows bfloat16."""

    package = "openvino"
    extra = "openvino"

    def _run(self, arrays: dict[str, Array]) -> dict[str, Array]:
        found = self._compiled(arrays)
        return {name: found[name] for name in self.outputs}

    def integer_products(self) -> tuple[int, int]:
        """By the precision in which the compiled model executes each."""
        precisions = []
        for node in self._compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            if "layerType" in info and info["layerType"].astype(str) in _OPENVINO_PRODUCTS:
                precisions.append(info["runtimePrecision"].astype(str))
        return sum(p in ("u8", "i8") for p in precisions), len(precisions)

    def _open(self, path: str, threads: int | None) -> None:
        core = _openvino_core()
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        self._model = core.read_model(path)
        _break_ties_by_place(self._model)
        self._compiled = core.compile_model(self._model, "CPU", config)
        self.inputs = tuple(port.any_name for port in self._compiled.inputs)
        self.sizes = {
            port.any_name: tuple(
                size.get_length() if size.is_static else None for size in port.get_partial_shape()
            )
            for port in self._compiled.inputs
        }
        self.outputs = tuple(port.any_name for port in self._compiled.outputs)

    def _metadata(self) -> Mapping[str, str]:
        info = self._model.get_rt_info()
        framework = info["framework"] if "framework" in info else {}  # noqa: SIM401  it is no dict
        framework = getattr(framework, "value", framework)
        return {key: str(getattr(value, "value", value)) for key, value in framework.items()}


def _break_ties_by_place(model: Any) -> None:
    """Let TopK put the first of equal values first, as ONNX says; OpenVINO does so if it is asked.

    At few bits several boxes have a score of exactly 1, and which of them stays depends on it.
    """
    for node in model.get_ops():
        if node.get_type_name() == "TopK":
            node.set_attribute("stable", True)
        elif hasattr(node, "get_function"):  # what runs for each image of a batch
            _break_ties_by_place(node.get_function())


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@functools.cache
def _openvino_core() -> Any:
    """One for the whole process, as long as it lives.

    On CPUs with AMX each core gives the process a signal stack and, at its end, puts back the one
    that it found: of two cores, the first one's, which is freed. The next signal ends the process.
    """
    import openvino

    return openvino.Core()


RUNTIMES: dict[str, type[Session]] = {
    "onnxruntime": OnnxRuntimeSession,
    "openvino": OpenVinoSession,
    "reference": ReferenceSession,
}


def open_session(path: str | Path, runtime: str, threads: int | None = None) -> Session:
    """Open an ONNX file in a runtime.

    Args:
        path: Of the file.
        runtime: A key of :data:`RUNTIMES`.
        threads: See :class:`Session`.

    Raises:
        ConfigError: The runtime is unknown or not installed, or there is no such file.
        MmptqError: The file cannot be executed.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime = {runtime!r}: must be one of {', '.join(RUNTIMES)}")
    return RUNTIMES[runtime](path, threads)
