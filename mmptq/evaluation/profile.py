"""How many multiplications a model does, and how many numbers it holds."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from mmptq.adapters import Adapter
from mmptq.evaluation.products import watching_products
from mmptq.models.trace import flatten_tensors
from mmptq.modules import (
    AttentionProduct,
    EmbeddingTable,
    Operand,
    QuantLayer,
    QuantOperand,
    channel_axis,
    channels_first,
    class_name,
    evaluating,
    expanded_modules,
    product_macs,
    quantized_class,
)
from mmptq.quantizers import UniformQuantizer
from mmptq.registry import type_name

DEFAULT_SCALE = (1333, 800)  # (w, h), MMDetection's for COCO


@dataclass(frozen=True)
class LayerProfile:
    """A layer with a weight matrix, or an operand of a product of two activations.

    Args:
        name: Module name in the detector.
        kind: Class name, of the float layer where it is quantized.
        macs: Multiply-accumulate operations of each call; empty if the layer never ran. Those of a
            product of two activations are its first operand's.
        numel: Elements of the weight.
        out_channels: Length of the bias, if the layer has one.
        steps: Steps of the weight, if each channel has one.
        has_bias: Whether it has a bias.
        other: Name of the operand by which this one is multiplied, ``None`` for a layer.
    """

    name: str
    kind: str
    macs: tuple[int, ...]
    numel: int
    out_channels: int
    steps: int
    has_bias: bool
    other: str | None = None


@dataclass(frozen=True)
class ProductProfile:
    """Products that a module computes itself, through no layer: ``matmul``, ``einsum``, ``conv2d``.

    Args:
        name: Module name in the detector, empty for the detector itself.
        kind: Class name of the module.
        macs: Multiply-accumulate operations.
    """

    name: str
    kind: str
    macs: int


@dataclass(frozen=True)
class ModelProfile:
    """A model's layers and sizes at one input shape.

    Args:
        input_shape: ``(H, W)``.
        layers: In the order of first execution; those that never ran at the end.
        products: What is multiplied beside the layers; always in float.
        numel: Elements of all parameters and buffers, but those of quantizers.
        expanded_numel: The same of the expanded form, in which layers hold their weight itself.
        norms: Elements (parameters and buffers) of each batch norm.
    """

    input_shape: tuple[int, int]
    layers: tuple[LayerProfile, ...]
    products: tuple[ProductProfile, ...]
    numel: int
    expanded_numel: int
    norms: Mapping[str, int]


@torch.no_grad()
def profile_model(adapter: Adapter, shape: tuple[int, int]) -> ModelProfile:
    """Run the model once on a random image of ``shape`` ``(H, W)`` and count.

    The model may be float or prepared. A two-stage head runs on as many regions as the model
    proposes for this image, up to the config's ``max_per_img``; profile the float model once and
    use the profile for every plan, so that all of a table's rows count the same regions.
    """
    model = adapter.model
    image = adapter.random_image(shape)
    counts = _Counts()
    with expanded_modules(model):
        modules = dict(model.named_modules())
        layers = {name: m for name, m in modules.items() if _multiplies(m)}
        pairs = _operand_pairs(layers)
        watched = [(name, m) for name, m in modules.items() if name not in pairs]
        with evaluating(model), watching_products(model, watched, counts.record):
            adapter.run(image)
            adapter.start_pass()  # whoever runs the model next begins anew
        expanded_numel = _float_numel(model)
    # What multiplies by its weight in no way at all (a norm over several axes) is no layer.
    layers = {name: m for name, m in layers.items() if counts.is_layer(name, m)}
    names = [*(n for n in counts.macs if n in layers), *(n for n in layers if n not in counts.macs)]
    return ModelProfile(
        input_shape=shape,
        layers=tuple(
            _layer_profile(name, layers[name], counts.macs.get(name, []), pairs.get(name))
            for name in names
        ),
        products=tuple(
            ProductProfile(name, class_name(modules[name]), macs)
            for name, macs in counts.products.items()
            if macs
        ),
        numel=_float_numel(model),
        expanded_numel=expanded_numel,
        norms={n: _own_numel(m) for n, m in model.named_modules() if isinstance(m, _BatchNorm)},
    )


def layer_macs(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    """Multiply-accumulate operations of one call of a convolution or fully connected layer.

    Each output element is a sum over one filter (``weight[0]``), whatever the groups, and each row
    of a linear layer's input counts. In a transposed convolution each *input* element meets
    ``weight[0]``. An operand that is read by something else than a product multiplies nothing, and
    neither does a table that is looked up.
    """
    if isinstance(layer, Operand | QuantOperand | EmbeddingTable):
        return 0
    weight: Any = layer.weight
    spread = x if isinstance(layer, _ConvTransposeNd) else output
    return spread.numel() * weight[0].numel()


def _multiplies(module: nn.Module) -> bool:
    # Whatever multiplies by a matrix, also what has no quantized counterpart (a deformable
    # convolution). A table that is looked up multiplies nothing; one that can be quantized is a row
    # all the same, for what it holds.
    if isinstance(module, AttentionProduct | Operand | QuantOperand | EmbeddingTable):
        return True
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() >= 2 and not isinstance(module, nn.Embedding)


class _Counts:
    """Multiply-accumulate operations of one pass."""

    def __init__(self) -> None:
        self.macs: dict[str, list[int]] = {}  # of each call of a layer
        self.products: Counter[str] = Counter()  # of each other module

    def record(
        self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any, own: int
    ) -> None:
        """Count one call; ``own`` is what the module was seen to multiply itself."""
        if isinstance(module, AttentionProduct):
            scores, context = product_macs(*args[:3])
            counts = {"query": scores, "key": 0, "probs": context, "value": 0}
            for operand, count in counts.items():
                self.macs.setdefault(f"{name}.{operand}", []).append(count)
        elif _multiplies(module):
            known = _multiplies_once(module)
            macs = layer_macs(module, args[0], next(flatten_tensors(output))) if known else own
            self.macs.setdefault(name, []).append(macs)
        else:
            self.products[name] += own

    def is_layer(self, name: str, module: nn.Module) -> bool:
        """Whether the module is a row of the profile."""
        if isinstance(module, AttentionProduct):
            return False
        return _multiplies_once(module) or any(self.macs.get(name, [1]))


def _multiplies_once(module: nn.Module) -> bool:
    """Whether a call multiplies its input by its weight, once."""
    return isinstance(module, QuantLayer) or quantized_class(module) is not None


def _operand_pairs(layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """Each operand, and the one that it is multiplied by."""
    pairs = (("query", "key"), ("probs", "value"))
    both = (*pairs, *((b, a) for a, b in pairs))
    products = [name for name, m in layers.items() if isinstance(m, AttentionProduct)]
    return {f"{name}.{a}": f"{name}.{b}" for name in products for a, b in both}


def _layer_profile(name: str, layer: nn.Module, macs: list[int], other: str | None) -> LayerProfile:
    kind = class_name(layer)
    if isinstance(layer, QuantLayer):
        kind = kind.removeprefix("Quant")
    if isinstance(layer, Operand | QuantOperand):
        return LayerProfile(name, kind, tuple(macs), 0, 0, 0, False, other)
    weight: Any = layer.weight
    return LayerProfile(
        name,
        kind,
        tuple(macs),
        numel=weight.numel(),
        out_channels=len(channels_first(layer, weight)),
        steps=weight.shape[channel_axis(layer)],
        has_bias=getattr(layer, "bias", None) is not None,
    )


def _float_numel(model: nn.Module) -> int:
    """Elements of all parameters and buffers, each tensor once, without the quantizers'."""
    tensors: dict[int, Tensor] = {}
    for module in model.modules():
        if not isinstance(module, UniformQuantizer):
            own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
            tensors.update((id(t), t) for t in own)
    return sum(t.numel() for t in tensors.values())


def _own_numel(module: nn.Module) -> int:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return sum(t.numel() for t in own)


def nominal_shape(cfg: Config, default: tuple[int, int] | None = None) -> tuple[int, int]:
    """``(H, W)`` of the input that a config's test pipeline makes of an image that fills its scale.

    Read from the ``CenterCrop`` of ``cfg.test_dataloader`` (else ``cfg.test_pipeline``), or its
    ``Resize``, whose scale is ``(w, h)``, and padded to the data preprocessor's
    ``pad_size_divisor``. Without a fixed scale it is ``default``, or else MMDetection's for COCO,
    1333 x 800 padded to 32.
    """
    scale = DEFAULT_SCALE if default is None else default[::-1]
    width, height = _crop_size(cfg) or _resize_scale(cfg) or scale
    model = cfg.get("model") or {}
    preprocessor = model.get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    padded = not preprocessor and default is None
    divisor = int(preprocessor.get("pad_size_divisor", 32 if padded else 1))
    return _ceil_to(height, divisor), _ceil_to(width, divisor)


def _ceil_to(value: int, divisor: int) -> int:
    return -(-value // divisor) * divisor


def _crop_size(cfg: Config) -> tuple[int, int] | None:
    for transform in inference_pipeline(cfg):
        size: Any = transform.get("crop_size")
        # CenterNet's RandomCenterCropPad pads to what divides its strides: it has no size.
        if size is not None and "CenterCrop" in type_name(transform):
            return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    return None


def _resize_scale(cfg: Config) -> tuple[int, int] | None:
    for transform in inference_pipeline(cfg):
        if "Resize" not in type_name(transform):
            continue
        if "width" in transform and "height" in transform:  # FixShapeResize
            return int(transform["width"]), int(transform["height"])
        scale = transform.get("scale")
        if isinstance(scale, int):
            return scale, scale
        if isinstance(scale, tuple | list) and len(scale) == 2:
            return int(scale[0]), int(scale[1])
    return None


def inference_pipeline(cfg: Config) -> list[Mapping[str, Any]]:
    """The transforms of a config's test data set."""
    dataset = (cfg.get("test_dataloader") or {}).get("dataset")
    # Wrappers (RepeatDataset, ConcatDataset) hold the dataset that has the pipeline.
    while dataset and not dataset.get("pipeline"):
        dataset = dataset.get("dataset") or next(iter(dataset.get("datasets") or []), None)
    return list((dataset and dataset.get("pipeline")) or cfg.get("test_pipeline") or [])
