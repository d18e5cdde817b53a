"""What a program must know that runs an exported model without MMDetection."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from torch import nn

from mmptq import __version__
from mmptq.evaluation.profile import inference_pipeline
from mmptq.models import QuantModel
from mmptq.registry import type_name

# Transforms that leave the pixels as they are.
_NOT_PIXELS = (
    "LoadImageFromFile",
    "LoadAnnotations",
    "LoadEmptyAnnotations",
    "PackDetInputs",
    "PackClassInputs",
    "PackInputs",
)


def make_metadata(
    model: QuantModel,
    cfg: Config,
    part: str,
    target: str,
    classes: Sequence[str],
    names: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """The JSON that goes into the file.

    Args:
        model: Quantized.
        cfg: Its config.
        part: That is exported.
        target: Name of the runtime.
        classes: Their names.
        names: ``inputs`` and ``outputs``.
    """
    bits = {
        "weight": Counter(f"{q.scheme.num_bits:g}" for q in model.weight_quantizers().values()),
        "act": Counter(f"{q.scheme.num_bits:g}" for q in model.sites.values()),
    }
    return {
        "version": __version__,
        "model": type(model.model).__name__,
        "target": target,
        "part": part,
        "classes": list(classes),
        "preprocess": preprocessing(cfg, model.model),
        "bits": {kind: dict(count) for kind, count in bits.items()},
        **names,
    }


def preprocessing(cfg: Config, model: nn.Module) -> list[dict[str, Any]] | None:
    """Steps from an image file's pixels (BGR) to the network's input, in order.

    What they mean stands in :mod:`mmptq.runtime.preprocess`. ``pad_batch`` fills images up to the
    size of their batch, which the input ``size`` of a detector's graph does not count.
    ``None`` where the test pipeline has a transform that has no form here.
    """
    steps: list[dict[str, Any]] = []
    for transform in inference_pipeline(cfg):
        kind = type_name(transform)
        if kind == "LoadImageFromFile" and transform.get("to_float32"):
            steps.append({"op": "to_float"})
        if kind in _NOT_PIXELS:
            continue
        step = _step(kind, transform)
        if step is None:
            return None
        steps.append(step)
    return steps + _data_preprocessor(model.data_preprocessor)


def _step(kind: str, transform: Mapping[str, Any]) -> dict[str, Any] | None:
    # Other libraries compute other pixels.
    if any(transform.get(key, "cv2") != "cv2" for key in ("backend", "imdecode_backend")):
        return None
    if kind == "Resize" and isinstance(transform.get("scale"), list | tuple):
        return {
            "op": "resize",
            "scale": list(transform["scale"]),  # width, height
            "keep_ratio": bool(transform.get("keep_ratio", False)),
            "interpolation": transform.get("interpolation", "bilinear"),
        }
    if kind == "Pad" and transform.get("padding_mode", "constant") == "constant":
        value = transform.get("pad_val", 0)
        value = value.get("img", 0) if isinstance(value, Mapping) else value
        size = transform.get("size")
        return {
            "op": "pad",
            "square": bool(transform.get("pad_to_square", False)),
            "size": None if size is None else list(size),
            "divisor": transform.get("size_divisor"),
            "value": list(value) if isinstance(value, list | tuple) else [value] * 3,
        }
    return None


def _data_preprocessor(module: Any) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if getattr(module, "_channel_conversion", False):
        steps.append({"op": "swap_channels"})
    if getattr(module, "_enable_normalize", False):
        mean, std = (getattr(module, name).flatten().tolist() for name in ("mean", "std"))
        steps.append({"op": "normalize", "mean": mean, "std": std})
    if getattr(module, "pad_size_divisor", 1) > 1:
        value = getattr(module, "pad_value", 0)
        steps.append({"op": "pad_batch", "divisor": module.pad_size_divisor, "value": [value] * 3})
    return steps
