"""Quantization by other toolkits, and the runtimes that they quantize for.

Nothing here imports torch or MMDetection, so that a calibration's peak memory is the toolkit's.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import add_threads, new_parser
from peak_memory import peak_mb, reset_peak
from timing import timed

Array = NDArray[np.float32]
Session = Callable[[Array], Sequence[Array]]


@dataclass(frozen=True)
class Toolkit:
    """A way to quantize an ONNX model.

    Args:
        label: For the table.
        runtime: A key of :data:`RUNTIMES`, which runs what it makes.
        suffix: Of the file that it writes.
        packages: What must be installed.
        quantize: ``(float model, calibration images, where to write)``; returns the function that
            writes, so that the time of writing is not counted.
    """

    label: str
    runtime: str
    suffix: str
    packages: tuple[str, ...]
    quantize: Callable[[Path, list[Path], Path], Callable[[], None]]


def quantize_by_nncf(
    preset: str, model: Path, images: list[Path], path: Path
) -> Callable[[], None]:
    """NNCF's post-training quantization with its defaults, for OpenVINO."""
    import nncf
    import openvino

    quantized = nncf.quantize(
        openvino.Core().read_model(model),
        nncf.Dataset(images, np.load),
        preset=nncf.QuantizationPreset[preset],
        subset_size=len(images),
    )
    return partial(openvino.save_model, quantized, path, compress_to_fp16=False)


def quantize_by_onnxruntime(
    method: str, model: Path, images: list[Path], path: Path
) -> Callable[[], None]:
    """ONNX Runtime's static quantization: QDQ, uint8 activations, int8 weights per channel."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, Array] | None:
            path = next(self.left, None)
            return None if path is None else {"image": np.load(path)}

    simplified = path.with_suffix(".simplified.onnx")
    # Its symbolic shapes are for transformers, and fail on graphs with computed sizes.
    quant_pre_process(model, simplified, skip_symbolic_shape=True)
    quantize_static(
        simplified,
        path,
        Images(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
    )
    return lambda: None  # it writes by itself


NNCF = ("onnx", "nncf", "openvino")
ORT = ("onnx", "onnxruntime")
TOOLKITS = {
    f"nncf-{preset}": Toolkit(
        f"NNCF {preset}", "openvino", "xml", NNCF, partial(quantize_by_nncf, preset.upper())
    )
    for preset in ("mixed", "performance")
} | {
    f"ort-{method.lower()}": Toolkit(
        f"ONNX Runtime {method}",
        "onnxruntime",
        "onnx",
        ORT,
        partial(quantize_by_onnxruntime, method),
    )
    for method in ("MinMax", "Entropy", "Percentile")
}


def openvino_session(model: Path) -> Session:
    """A model of OpenVINO's or ONNX on the CPU."""
    import openvino

    # Where the CPU could, OpenVINO would take bfloat16 for what is not quantized.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", exact)

    def run(image: Array) -> list[Array]:
        found = compiled([image])
        return [np.array(found[output]) for output in compiled.outputs]

    return run


def onnxruntime_session(model: Path) -> Session:
    """An ONNX model on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Without it, 8-bit products saturate at 16 bits on CPUs that have no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})


RUNTIMES = {"openvino": openvino_session, "onnxruntime": onnxruntime_session}


def missing_packages(methods: Sequence[str]) -> list[str]:
    """Packages that the toolkits ``methods`` need and that are not installed."""
    needed = [p for m in methods if m in TOOLKITS for p in TOOLKITS[m].packages]
    return [p for p in dict.fromkeys(needed) if importlib.util.find_spec(p) is None]


def keep_to_cpus(count: int) -> None:
    """Let this process use ``count`` CPUs (Linux): toolkits open sessions of their own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def measured(calibrate: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What ``calibrate`` returns; its seconds, and the peak memory of the process in MB."""
    reset_peak()
    result, seconds = timed(calibrate)
    return result, {"seconds": round(seconds, 1), "peak_mb": peak_mb()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate in this process, and write the figures."""
    parser = new_parser(main.__doc__)
    parser.add_argument("method", choices=TOOLKITS)
    parser.add_argument("model", type=Path, help="float ONNX model")
    parser.add_argument("images", type=Path, help="folder of arrays (1, 3, H, W)")
    parser.add_argument("path", type=Path, help="the quantized model")
    parser.add_argument("figures", type=Path, help="JSON file")
    add_threads(parser)
    args = parser.parse_args(arguments)
    keep_to_cpus(args.threads)
    images = sorted(args.images.glob("*.npy"))
    quantize = TOOLKITS[args.method].quantize
    write, figures = measured(lambda: quantize(args.model, images, args.path))
    write()
    args.figures.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
