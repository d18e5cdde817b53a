"""A quantized model as a file, checked in its runtime and measured through it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmptq.adapters import find_adapter
from mmptq.errors import ConfigError
from mmptq.evaluation import ResultRow
from mmptq.export.checks import check_exportable, check_installed
from mmptq.fileio import atomic_write
from mmptq.runner.calibration_runner import CalibrationRunner
from mmptq.runner.measuring_runner import MeasuringRunner
from mmptq.runner.runtime_test import test_session
from mmptq.runtime import open_session
from mmptq.targets import Target

if TYPE_CHECKING:
    from mmptq.export.verify import Verification


def export(
    runner: MeasuringRunner,
    path: Path,
    target: Target,
    part_name: str | None = None,
    static: bool = False,
    num_images: int = 8,
) -> "Verification":
    """Write the runner's model to ``path``, and what its runtime makes of it beside it, as JSON.

    Args:
        runner: With the quantized model, and its test built.
        path: ONNX file.
        target: Runtime.
        part_name: Key of :data:`mmptq.export.parts.PARTS`, by default the largest.
        static: Fix the images' number and size.
        num_images: Test images on which it is checked.

    Raises:
        CheckpointError: The model is not quantized.
        ConfigError: A package is missing, or a layer cannot be exported.
        MmptqError: A file cannot be written.
    """
    check_installed(target)
    # These need onnx, which only exports need.
    from mmptq.export.export import export_float, export_model, make_part, write
    from mmptq.export.verify import check_sizes, verify

    model = runner.model.eval()
    check_exportable(model, target)
    part = make_part(model, part_name)
    images = test_images(runner, num_images)
    classes = runner.test_dataloader.dataset.metainfo.get("classes") or ()
    exported = export_model(model, part, runner.cfg, target, images[0], classes, static)
    if not static:
        check_sizes(part, exported, target.runtime, images[0])
    write(exported, path)
    float_path = path.with_name(f".{path.stem}.float.onnx")
    try:
        write(export_float(model, part, images[0], static), float_path)
        found = verify(part, model, exported, (path, float_path), target.runtime, images)
    finally:
        float_path.unlink(missing_ok=True)
    with atomic_write(path.with_suffix(".json")) as file:
        file.write(json.dumps(found.to_dict(), indent=1).encode())
    return found


def runtime_row(
    runner: CalibrationRunner, path: Path, target: Target, like: ResultRow
) -> ResultRow:
    """The results' row of an exported model: the metrics through its runtime, and the file's size.

    Args:
        runner: Whose model was exported.
        path: Of the exported model.
        target: Its runtime.
        like: Row of the simulation.
    """
    method, session = f"{like.method} in {target.name}", open_session(path, target.runtime)
    metrics, seconds = test_session(runner.model.model, session, lambda: runner.evaluate(method))
    return ResultRow(
        method,
        like.scope,
        like.w_bits,
        like.a_bits,
        metrics=metrics,
        size_mb=path.stat().st_size / 1e6,
        gbops=like.gbops,
        images=like.images,
        mac_share=like.mac_share,
        ms=1000 * seconds,
    )


def test_images(runner: MeasuringRunner, count: int) -> list[Tensor]:
    """The first preprocessed images of the test set, ``(1, 3, H, W)`` each.

    Raises:
        ConfigError: There are none.
    """
    adapter = find_adapter(runner.model.model)
    images: list[Tensor] = []
    loader: Iterable[object] = runner.test_dataloader
    for batch in loader:
        inputs = adapter.preprocess(batch, False)["inputs"]
        images += list(inputs.to(torch.float32).split(1))
        if len(images) >= count:
            break
    if not images:
        raise ConfigError("test_dataloader is empty: an export is checked on its images")
    return images[:count]
