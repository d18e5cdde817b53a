"""From a quantized model to an ONNX file."""

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from mmengine.config import Config

from mmptq.engine.incremental.probing import float_form
from mmptq.errors import ConfigError, MmptqError
from mmptq.export.checks import check_exportable, check_installed
from mmptq.export.compose import chain, for_each_image
from mmptq.export.graph import pack_int4, to_onnx
from mmptq.export.metadata import make_metadata
from mmptq.export.parts import Example, Part, Piece
from mmptq.export.post_processing import traceable
from mmptq.export.qdq import emitting
from mmptq.fileio import atomic_write
from mmptq.models import QuantModel
from mmptq.runtime.session import METADATA_KEY
from mmptq.targets import Target


def export_model(
    model: QuantModel,
    part: Part,
    cfg: Config,
    target: Target,
    example: Example,
    classes: Sequence[str] = (),
    static: bool = False,
) -> onnx.ModelProto:
    """The graph of a quantized model, with integer weights and metadata.

    Args:
        model: Quantized.
        part: Of it.
        cfg: Its config, for the metadata.
        target: The rules.
        example: Preprocessed, of one image.
        classes: Their names, for the metadata.
        static: Fix number, height and width of the images to the example's.

    Raises:
        CheckpointError: The model is not quantized.
        ConfigError: A layer cannot be exported.
    """
    check_installed(target)
    check_exportable(model, target)
    with emitting(model):
        exported = _graph(part, example, static)
    if target.int4:
        pack_int4(exported)
    graph = exported.graph
    names = {
        "inputs": [value.name for value in graph.input],
        "outputs": [value.name for value in graph.output],
    }
    metadata = make_metadata(model, cfg, part.name, target.name, classes, names)
    onnx.helper.set_model_props(exported, {METADATA_KEY: json.dumps(metadata)})
    return exported


def export_float(
    model: QuantModel, part: Part, example: Example, static: bool = False
) -> onnx.ModelProto:
    """The graph of the same model with its quantizers off, to compare size and speed with."""
    with float_form(model):
        return _graph(part, example, static)


def write(exported: onnx.ModelProto, path: Path) -> None:
    """Write a graph, whole or not at all.

    Raises:
        MmptqError: The file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(exported.SerializeToString())


def _graph(part: Part, example: Example, static: bool) -> onnx.ModelProto:
    try:
        with torch.no_grad(), traceable():
            pieces = part.pieces(example, static)
            models = [_piece_graph(part, piece) for piece in pieces]
    except ConfigError:
        raise
    except Exception as error:  # the exporter raises anything
        raise MmptqError(_reason(part, error, static)) from error
    return chain(models, pieces[-1].outputs) if len(models) > 1 else models[0]


def _piece_graph(part: Part, piece: Piece) -> onnx.ModelProto:
    part.start_pass()
    module = piece.module.eval()
    graph = to_onnx(module, piece.examples, piece.inputs, piece.outputs, piece.axes)
    return for_each_image(graph, piece.name) if piece.each_image else graph


def _reason(part: Part, error: Exception, static: bool) -> str:
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    hint = "" if static else "; --static may be of help, for images of one size"
    return f"torch.onnx cannot export {type(part.model).__name__}: {reason}{hint}"
