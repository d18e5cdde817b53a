"""A quantized model as a file, checked in its runtime and measured through it."""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.logging import print_log

from mmptq.adapters import find_adapter
from mmptq.engine.incremental.probing import float_form
from mmptq.errors import ConfigError
from mmptq.evaluation import ResultRow
from mmptq.export.checks import check_exportable, check_installed, target_note
from mmptq.export.kinds import make_part
from mmptq.export.parts import INPUT, SIZE, Example
from mmptq.fileio import save_json
from mmptq.runner.calibration_runner import CalibrationRunner
from mmptq.runner.measuring_runner import MeasuringRunner
from mmptq.runner.runtime_test import test_session
from mmptq.runtime import open_session
from mmptq.targets import Target

if TYPE_CHECKING:
    from mmptq.export.verification import Verification


_GRAPH_IMAGES = 2  # on which the float graph is compared: what is wrong there is wrong everywhere


def export(
    runner: MeasuringRunner,
    path: Path,
    target: Target,
    part_name: str | None = None,
    static: bool = False,
    num_images: int = 4,
) -> "Verification":
    """Write the runner's model to ``path``, and what its runtime makes of it beside it, as JSON.

    Args:
        runner: With the quantized model, and its test built.
        path: ONNX file.
        target: Runtime.
        part_name: Key of :data:`mmptq.export.kinds.PARTS`, by default the whole model.
        static: Fix the images' number and size.
        num_images: Test images on which it is checked.

    Raises:
        CheckpointError: The model is not quantized.
        ConfigError: A package is missing, or a layer cannot be exported.
        MmptqError: A file cannot be written, or the graph would compute something else.
    """
    check_installed(target)
    # These need onnx, which only exports need.
    from mmptq.export.export import export_float, export_model, write
    from mmptq.export.graph_check import check_graph
    from mmptq.export.verify import verify

    model = runner.model.eval()
    check_exportable(model, target)
    assert model.plan is not None
    note = target_note(model.plan, target)
    if note is not None:
        print_log(note, logger="current", level=logging.WARNING)
    part = make_part(model.model, part_name)
    examples = test_images(runner, num_images)
    classes = runner.test_dataloader.dataset.metainfo.get("classes") or ()
    with tempfile.TemporaryDirectory() as folder:
        float_path = Path(folder) / "float.onnx"
        float_graph = export_float(model, part, examples[0], static)
        with float_form(model):
            check_graph(part, float_graph, target.runtime, examples[:_GRAPH_IMAGES], static)
        write(float_graph, float_path)
        del float_graph
        exported = export_model(model, part, runner.cfg, target, examples[0], classes, static)
        write(exported, path)
        found = verify(part, model, exported, (path, float_path), target.runtime, examples)
    save_json(path.with_suffix(".json"), found.to_dict())
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
        runtime=target.runtime,
    )


def test_images(runner: MeasuringRunner, count: int) -> list[Example]:
    """The first preprocessed images of the test set, one each, with their sizes without padding.

    Raises:
        ConfigError: There are none.
    """
    adapter = find_adapter(runner.model.model)
    examples: list[Example] = []
    loader: Iterable[object] = runner.test_dataloader
    for batch in loader:
        data = adapter.preprocess(batch, False)
        for image, sample in zip(data["inputs"], data["data_samples"], strict=True):
            size = torch.tensor([sample.img_shape[:2]], dtype=torch.float32)
            examples.append({INPUT: image[None].to(torch.float32), SIZE: size})
        if len(examples) >= count:
            break
    if not examples:
        raise ConfigError("test_dataloader is empty: an export is checked on its images")
    return examples[:count]
