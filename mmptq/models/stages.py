"""Which part of a detector a layer belongs to, as users speak of it: by its name."""

from collections.abc import Iterable

STEM, NECK, RPN, HEAD = "stem", "neck", "rpn", "head"
CLS, REG, MASK = "cls", "reg", "mask"
ENCODER, DECODER = "encoder", "decoder"

# What parts of a head's layer name say of what it predicts; the first that is found decides.
_PREDICTS = (
    ("mask", MASK),
    ("cls", CLS),
    ("class", CLS),
    ("logits", CLS),
    ("reg", REG),
    ("bbox", REG),
    ("box", REG),
    ("obj", REG),
    ("centerness", REG),
    ("offset", REG),
)
_HEADS = (CLS, REG, MASK, HEAD)
# Above each other in what feeds what; stages of the backbone come between stem and neck.
_LAST = (NECK, ENCODER, DECODER, RPN, HEAD, CLS, REG, MASK)


def stage_of(layer: str) -> str:
    """The stage of the layer with this module name.

    ``stem``, the backbone's own stages (``layer1``, ``stages.0``), ``neck``, ``encoder``,
    ``decoder``, ``rpn``, ``cls``, ``reg``, ``mask``, and ``head`` for what is shared there.
    """
    top, _, rest = layer.partition(".")
    if top == "backbone":
        return _backbone_stage(rest)
    if "rpn" in top:
        return RPN
    for stage in (DECODER, ENCODER):
        if top.endswith(stage):
            return stage
    if top == "neck" or top.startswith("neck_") or top.endswith("_neck"):
        return NECK
    return _head_stage(layer)


def stage_of_readers(layers: Iterable[str]) -> str:
    """The stage of a tensor that these layers read.

    It is that of the first, but for what several branches of a head read, which is ``head``.
    """
    stages = list(dict.fromkeys(stage_of(layer) for layer in layers))
    if len(stages) > 1 and all(stage in _HEADS for stage in stages):
        return HEAD
    return stages[0]


def in_order(stages: Iterable[str]) -> list[str]:
    """Each stage once, as the image passes them; the backbone's as they are met."""
    found = list(dict.fromkeys(stages))
    front = [stage for stage in found if stage == STEM]
    middle = [stage for stage in found if stage not in (STEM, *_LAST)]
    return [*front, *middle, *(stage for stage in _LAST if stage in found)]


def _backbone_stage(rest: str) -> str:
    first, _, behind = rest.partition(".")
    index = behind.partition(".")[0]
    if first.isdigit() or (first in ("stages", "layers", "features", "blocks") and index.isdigit()):
        return f"{first}.{index}" if index.isdigit() and not first.isdigit() else first
    # A digit is what tells stages apart; conv1 and the like are no stage.
    if first[-1:].isdigit() and not first.startswith(("conv", "norm", "bn")):
        return first
    return STEM


def _head_stage(layer: str) -> str:
    """By what stands below the head's own name, which may itself be ``bbox_head``."""
    parts = layer.split(".")
    heads = [i for i, part in enumerate(parts[:-1]) if part.endswith("_head")]
    start = heads[-1] if heads else -1
    if start >= 0 and parts[start].startswith("mask"):
        return MASK
    below = ".".join(parts[start + 1 :])
    found = [stage for word, stage in _PREDICTS if word in below]
    if found:
        return found[0]
    for stage in (DECODER, ENCODER):
        if any(part.endswith(stage) for part in parts):
            return stage
    return HEAD
