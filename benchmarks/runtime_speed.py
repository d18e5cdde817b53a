"""Exported detectors in their runtimes: quantized over float, in turns, in one process.

A detector with random weights (speed does not depend on them) is quantized on one image of noise
for each runtime's own rules, exported whole, and run beside its float form. The ratio is that of
the medians; peak memory is that of a process that runs one of the two alone.

  python benchmarks/runtime_speed.py                                  # the demo, and R50 at 320
  python benchmarks/runtime_speed.py --models retinanet_r50 --shapes 800x1344 --rounds 5
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import markdown_table
import records
import torch
from arguments import ROOT, add_choices, new_parser
from mmengine.config import Config
from peak_memory import peak_mb, reset_peak
from random_images import RandomImages
from silence import untracked

from mmptq.adapters import find_adapter
from mmptq.algorithms import RangeCalibration
from mmptq.engine import CalibrationContext, StageStore
from mmptq.export.export import export_float, export_model, write
from mmptq.export.kinds import make_part
from mmptq.models import QConfig, QuantModel
from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import wrap_model
from mmptq.runner.random_model import random_model, wrapped_model
from mmptq.targets import TARGETS

RUNTIMES = ("onnxruntime", "openvino")  # with targets of the same names
MODELS = {
    "retinanet_demo": "configs/demo/_base_/retinanet_digits.py",
    "faster_rcnn_demo": "configs/demo/_base_/faster_rcnn_digits.py",
    "retinanet_r50": "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    "faster_rcnn_r50": "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "yolox_nano": "mmdet::yolox/yolox_nano_8xb8-300e_coco.py",
}
TITLES = ("model", "runtime", "input", "threads", "float ms", "ms", "ratio", "integers")
TITLES += ("MB, float / quantized", "peak MB", "export")
MIN_MAX = {"type": "MinMaxObserver"}


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_choices(parser, models=MODELS, runtimes=RUNTIMES)
    parser.add_argument(
        "--shapes", nargs="+", default=["320x320"], metavar="HxW", help="of R50 and YOLOX-Nano"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 0], help="0: all")
    parser.add_argument("--bits", nargs=2, type=int, default=[8, 8], metavar=("W", "A"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--json",
        type=Path,
        help="file of the records (benchmarks/results/recorded.json) that keeps the figures",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    rows: list[dict[str, Any]] = []
    print(markdown_table.head(TITLES), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            for runtime in args.runtimes:
                files, exported = export(name, runtime, args.bits, Path(folder))
                shapes = ["128x128"] if name.endswith("demo") else args.shapes
                for shape in shapes:
                    for threads in args.threads:
                        figures = measure(files, runtime, threads, args.rounds, shape)
                        rows.append(dict(model=name, runtime=runtime, shape=shape, threads=threads))
                        rows[-1] |= {**exported, **figures}
                        print(line(rows[-1]), flush=True)
    if args.json:
        cells = {name_of(row): cell_of(row) for row in rows}
        records.add_cells(args.json, "runtime_speed", shlex.join(["python", *sys.argv]), cells)


def export(
    name: str, runtime: str, bits: Sequence[int], folder: Path
) -> tuple[list[Path], dict[str, Any]]:
    """Files of the float and of the quantized detector, with what it took to write them."""
    reset_peak()
    start = time.perf_counter()
    cfg = read_config(path if "::" in (path := MODELS[name]) else str(ROOT / path))
    wrap_model(cfg)
    torch.manual_seed(0)
    model: Any = wrapped_model(cfg).eval()
    # As a training begins: hardly any box has a score, as in most images.
    model.model.load_state_dict(random_model(cfg).state_dict())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.fill_(1.0)  # not 0, with which residual branches begin
        elif getattr(module, "bias", None) is not None and hasattr(module, "weight"):
            module.bias.data += 0.02 * torch.randn_like(module.bias)  # runtimes drop zeros
    quantize(model, bits, runtime)
    part, example = make_part(model.model), preprocessed()
    files = [folder / f"{name}-{runtime}-{form}.onnx" for form in ("float", "quantized")]
    started = time.perf_counter()
    write(export_float(model, part, example), files[0])
    halfway = time.perf_counter()
    target = TARGETS[runtime]
    write(export_model(model, part, _without_pipeline(), target, example), files[1])
    return files, {
        "export_s": time.perf_counter() - halfway,
        "prepare_s": started - start,
        "export_peak_mb": peak_mb(),
        "mb": [path.stat().st_size / 1e6 for path in files],
    }


def preprocessed() -> dict[str, torch.Tensor]:
    """A small image."""
    image = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    return {"image": image, "size": torch.tensor([[256.0, 256.0]])}


def _without_pipeline() -> Config:
    return Config({"test_dataloader": {"dataset": {"pipeline": []}}})


def quantize(model: QuantModel, bits: Sequence[int], runtime: str) -> None:
    """Give the model ranges, those of noise."""
    weight, act = ({"num_bits": count} for count in bits)
    adapter = find_adapter(model.model)
    model.prepare(adapter.plan(QConfig.parse(dict(weight=weight, act=act, target=runtime))))
    with tempfile.TemporaryDirectory() as folder:
        store, data = StageStore(Path(folder), {}, False), RandomImages(1, (256, 256))
        context = CalibrationContext(model, adapter, data, store, untracked)  # type: ignore[arg-type]
        RangeCalibration(weight=MIN_MAX, act=MIN_MAX).run(context)


def measure(
    files: Sequence[Path], runtime: str, threads: int, rounds: int, shape: str
) -> dict[str, Any]:
    """Seconds of both in one process, memory of each in its own."""
    both = work(runtime, threads, rounds, shape, files)
    peaks = [work(runtime, threads, 1, shape, [path])["peak_mb"] for path in files]
    return {"seconds": both["seconds"], "integers": both["integers"][1], "peak_mb": peaks}


def work(
    runtime: str, threads: int, rounds: int, shape: str, files: Sequence[Path]
) -> dict[str, Any]:
    """What the worker prints."""
    arguments = [runtime, threads, rounds, *shape.split("x"), *files]
    command = [sys.executable, str(ROOT / "benchmarks/runtime_worker.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def name_of(row: dict[str, Any]) -> str:
    threads = row["threads"] or os.cpu_count()
    return f"{row['model']}/{row['shape']}/{row['runtime']}/{threads} threads"


def cell_of(row: dict[str, Any]) -> dict[str, Any]:
    """What the docs show of a measurement: milliseconds of an image, float over quantized."""
    float_ms, ms = (1000 * statistics.median(seconds) for seconds in row["seconds"])
    short = {"float_ms": float_ms, "ms": ms}
    cell = {key: round(value) if value >= 20 else round(value, 1) for key, value in short.items()}
    return {**cell, "ratio": round(float_ms / ms, 2), "integers": list(row["integers"])}


def line(row: dict[str, Any]) -> str:
    """A measurement in the table."""
    float_ms, ms = (1000 * statistics.median(seconds) for seconds in row["seconds"])
    peaks = row["peak_mb"]
    cells = [
        row["model"],
        row["runtime"],
        row["shape"],
        str(row["threads"] or "all"),
        f"{float_ms:.1f}",
        f"{ms:.1f}",
        f"**{float_ms / ms:.2f}**",
        "{} of {}".format(*row["integers"]),
        "{:.1f} / {:.1f}".format(*row["mb"]),
        f"{peaks[0]} / {peaks[1]}",
        f"{row['export_s']:.0f} s, {row['export_peak_mb']} MB",
    ]
    return markdown_table.row(cells)


if __name__ == "__main__":
    main()
