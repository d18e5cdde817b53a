"""Work dirs of finished runs, made by hand."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.leaderboard_support import float_row, results, row, write_run

STEPS = [
    {"type": "LpInterpolation", "num_points": 3},
    {"type": "mmptq.JointSearch", "max_evals": 6},
    {"type": "BitShrinking", "preset": "fast"},
]


def layer(name: str, macs: int = 1000, bits: float = 4, **changes: Any) -> dict[str, Any]:
    """A layer of ``run.json``."""
    plain = dict(kind="Conv2d", roles=["backbone"], weight_bits=bits, input_bits=[bits], calls=1)
    return dict(name=name, macs=macs, weight_bytes=500.0, quantized=bits < 32) | plain | changes


def record(**changes: Any) -> dict[str, Any]:
    """The contents of a ``run.json``."""
    layers = [layer("conv1", 100, 8), layer("conv2", 800), layer("cls", 100, 32, calls=5)]
    return {
        "schema": 1,
        "starts": [dict(time="2026-01-02T03:04:05+00:00", command="x", resumed=False, processes=1)],
        "model": "RetinaNet",
        "boxes": True,
        "config": "net_w4a4.py",
        "calibration": {"dataset": "CocoDataset", "images": 60, "chosen": ["a/1.jpg", "a/2.jpg"]},
        "input_shape": [320, 320],
        "layers": layers,
        "products": {},
        "pictures": ["000.jpg"],
        "blame": ["all at W4A4 lost 40 %, the worst:", "  weight of conv2", "to keep: --qconfig"],
    } | changes


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path: Path, *rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in rows))


def write_picture(path: Path, width: int = 300, height: int = 100) -> None:
    """Noise, which no codec makes small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(0).randint(0, 256, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)


def write_searches(folder: Path) -> None:
    """Logs of both of LAPQ's searches; the second one begins anew."""
    path = [dict(point=[p], loss=loss, seconds=1) for p, loss in ((2, 3.0), (3, 2.0), (4, 2.5))]
    write_lines(folder / "stages/lp_interpolation.jsonl", {"search": {}}, *path)
    old = [{"search": {"start": "other"}}, dict(point=[9.0], loss=99.0, seconds=1)]
    new = [dict(point=[float(i)], loss=loss, seconds=i) for i, loss in enumerate((2.0, 1.9, 5.0))]
    write_lines(folder / "stages/joint_search.jsonl", *old, {"search": {}}, *new)


def write_units(folder: Path, unit: str = "backbone.layer1.0", step: str = "BitShrinking") -> None:
    """One unit whose bit-width shrinks."""
    logs = folder / "reconstruction" / step
    summary = dict(name=unit, layers=2, before=4.0, after=1.0, stops=2, forced=1, seconds=3.5)
    write_json(logs / "summary.json", [summary | {"maps": ""}])
    rows = [
        dict(iteration=i, loss=4.0 / (i + 1), R=4.0 / (i + 1), b_w=8 - i, b_a=8 - i)
        for i in range(5)
    ]
    write_lines(logs / f"{unit}.jsonl", *rows)


def sensitivity(label: str = "W4A4", stage: str = "neck", name: str = "neck.0.weight") -> Any:
    """The contents of a ``sensitivity.json``."""
    one = dict(stage=stage, projected=0.02, rest=0.01, sqnr=18.0)
    records = [dict(one, name=name, alone=0.03), dict(one, name="b.act", alone=None)]
    stages = [dict(stage=stage, quantizers=2, projected=0.04, alone=0.05, rest=0.02)]
    found = dict(records=records, stages=stages, distance=0.07)
    return dict(
        checkpoint="weights/net.pth", scope="full", images=32, options={}, results={label: found}
    )


def verification(**changes: Any) -> dict[str, Any]:
    """The contents of a ``quantized.json``."""
    layers = [dict(name="conv1", call=0, equal=1.0, far=0.0, largest=0.0)]
    numbers = dict(images=4, close=4, agreement=1.0, integers=3, products=4)
    sizes = dict(megabytes=0.6, float_megabytes=4.4, milliseconds=2.5, float_milliseconds=5.0)
    return dict(runtime="openvino", part="detector", layers=layers) | numbers | sizes | changes


def write_full_run(folder: Path) -> Path:
    """A run with everything that a report shows; its work dir."""
    exported = row("all in openvino", 0.54, runtime="openvino", ms=2.5)
    rows = (float_row(), row("minmax", 0.4), row("all", 0.55, seconds=61.0), exported)
    write_run(folder, results(*rows, method="all", steps=STEPS))
    write_json(folder / "run.json", record())
    write_picture(folder / "pictures/000.jpg")
    write_searches(folder)
    write_units(folder)
    write_json(folder / "analysis/sensitivity.json", sensitivity())
    write_json(folder / "quantized.json", verification())
    (folder / "net_w4a4.py").write_text("model = dict(type='RetinaNet')\n")
    return folder
