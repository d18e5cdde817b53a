"""From a quantized model to an ONNX file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from mmengine.config import Config
from torch import Tensor

from mmptq.engine.incremental.probing import float_form
from mmptq.errors import ConfigError, MmptqError
from mmptq.export.checks import check_exportable, check_installed
from mmptq.export.graph import pack_int4, to_onnx
from mmptq.export.metadata import make_metadata
from mmptq.export.parts import INPUT, PARTS, SIZES, Part, default_part
from mmptq.export.qdq import emitting
from mmptq.fileio import atomic_write
from mmptq.models import QuantModel
from mmptq.runtime.session import METADATA_KEY
from mmptq.targets import Target


def make_part(model: QuantModel, name: str | None = None) -> Part:
    """The part ``name`` of ``model``, or the largest one that can be exported.

    Raises:
        ConfigError: The model has no such part.
    """
    known = default_part(model.model)
    name = name or known
    if (name == "classifier") != (known == "classifier"):
        raise ConfigError(f"--part {name}: a {type(model.model).__name__} has the part {known}")
    return PARTS[name](model.model).eval()


def export_model(
    model: QuantModel,
    part: Part,
    cfg: Config,
    target: Target,
    image: Tensor,
    classes: Sequence[str] = (),
    static: bool = False,
) -> onnx.ModelProto:
    """The graph of a quantized model, with integer weights and metadata.

    Args:
        model: Quantized.
        part: Of it.
        cfg: Its config, for the metadata.
        target: The rules.
        image: An example ``(1, 3, H, W)``, preprocessed.
        classes: Their names, for the metadata.
        static: Fix number, height and width of the images to the example's.

    Raises:
        CheckpointError: The model is not quantized.
        ConfigError: A layer cannot be exported.
    """
    check_installed(target)
    check_exportable(model, target)
    with emitting(model):
        exported = _graph(part, image, static)
    if target.int4:
        pack_int4(exported)
    names = {"inputs": [INPUT], "outputs": [value.name for value in exported.graph.output]}
    metadata = make_metadata(model, cfg, part.name, target.name, classes, names)
    onnx.helper.set_model_props(exported, {METADATA_KEY: json.dumps(metadata)})
    return exported


def export_float(
    model: QuantModel, part: Part, image: Tensor, static: bool = False
) -> onnx.ModelProto:
    """The graph of the same model with its quantizers off, to compare size and speed with."""
    with float_form(model):
        return _graph(part, image, static)


def write(exported: onnx.ModelProto, path: Path) -> None:
    """Write a graph, whole or not at all.

    Raises:
        MmptqError: The file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(exported.SerializeToString())


def _graph(part: Part, image: Tensor, static: bool) -> onnx.ModelProto:
    names = part.output_names(image)
    part_axes: dict[str, dict[int, str]] = {}
    if not static:
        part_axes = {INPUT: SIZES, **{name: {0: SIZES[0]} for name in names}}
    try:
        return to_onnx(part, [image], [INPUT], names, part_axes)
    except Exception as error:  # the exporter raises anything
        raise MmptqError(_reason(part, error)) from error


def _reason(part: Part, error: Exception) -> str:
    first: Any = str(error).strip().splitlines()
    return (
        f"torch.onnx cannot export {type(part.model).__name__}: "
        f"{first[0] if first else type(error).__name__}"
    )
