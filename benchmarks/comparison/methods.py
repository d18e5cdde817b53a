"""The methods that are compared. A new one is an entry of ``METHODS``."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from arguments import ROOT
from mmengine.config import Config

Changes = Mapping[str, Mapping[str, Any]]


class Method(NamedTuple):
    """A recipe, and what is changed in it.

    Args:
        title: In tables.
        recipe: Name of its file: in the model's own folder, else configs/_base_/calib's fast form
            of it, else the plain one.
        changes: Arguments of steps, by their types; those of steps that are not there do nothing.
        without: Types of steps that are left out.
        first: Steps before the recipe's.
        last: Steps behind them.
        baseline: Whether it chooses ranges alone, tensor by tensor: what a longer method must beat.
        overrides: Entries of ``qconfig.overrides`` before the model's own.
    """

    title: str
    recipe: str
    changes: Changes = {}
    without: tuple[str, ...] = ()
    first: tuple[Mapping[str, Any], ...] = ()
    last: tuple[Mapping[str, Any], ...] = ()
    baseline: bool = False
    overrides: tuple[Mapping[str, Any], ...] = ()


def _searching_by(objective: str) -> Changes:
    return {step: {"objective": {"type": objective}} for step in ("LpInterpolation", "JointSearch")}


def _overrides(preset: str) -> tuple[dict[str, Any], ...]:
    """Of a file in configs/_base_/quant."""
    cfg = Config.fromfile(ROOT / f"configs/_base_/quant/{preset}.py")
    return tuple(cfg.qconfig.to_dict()["overrides"])


_L24 = {"type": "LpNormObserver", "p": 2.4}
_KL = {
    "type": "RangeCalibration",
    "weight": {"type": "MinMaxObserver"},
    "act": {"type": "KLObserver"},
}
_SHRINKING = {"type": "BitShrinking", "preset": "fast"}
_BIAS = {"type": "BiasCorrection"}
_MEASURED = {"type": "BiasCorrection", "mode": "measured"}
_STEPS = {"type": "LearnedSteps", "preset": "fast", "crop": 48}
_RANDOM = {"type": "RandomRanges"}
_LAYERWISE: Changes = {"LpInterpolation": {"interpolate": False}}
# Of transformers at few bits.
_LOG = {"role": "softmax", "act": {"type": "LogQuantizer"}}
_TWIN_SOFTMAX = {"role": "softmax", "act": {"type": "TwinQuantizer"}}
_TWIN = {"role": "gelu", "act": {"type": "TwinQuantizer"}}
_NORMS = {"type": "NormReparametrization"}

METHODS = {
    "minmax": Method("min-max", "minmax", baseline=True),
    "moving_average": Method("moving average", "moving_average", baseline=True),
    "percentile": Method("percentile", "percentile", baseline=True),
    "mmse": Method("MMSE", "mmse", baseline=True),
    "lp": Method("L_2.4", "lp", {"RangeCalibration": {"weight": _L24, "act": _L24}}, baseline=True),
    "kld": Method("KL", "kl", baseline=True),
    "aciq": Method("ACIQ", "aciq", baseline=True),
    "mmse_bias": Method("MMSE, biases corrected", "mmse_bias"),
    "mmse_equalized": Method("MMSE, equalized", "mmse_equalized"),
    "gptq": Method("GPTQ", "gptq"),
    "gptq_bias": Method("GPTQ, biases measured", "gptq", last=(_MEASURED,)),
    "gptq_steps": Method("GPTQ, steps learned", "gptq", last=(_STEPS,)),
    "gptq_early": Method("GPTQ, early inputs 8 bits", "gptq", overrides=_overrides("w6a6_early")),
    "gptq_depthwise": Method(
        "GPTQ, depthwise 8 bits", "gptq", overrides=_overrides("w4a8_depthwise8")
    ),
    "lapq": Method("LAPQ", "lapq"),
    # Of the regions' heads in a detector of two stages; of all heads in others.
    "lapq_no_labels": Method("LAPQ, no labels", "lapq", _searching_by("LastStageDistance")),
    "adaround": Method("AdaRound", "adaround"),
    "brecq": Method("BRECQ", "brecq"),
    "qdrop": Method("QDrop", "qdrop"),
    "direct": Method("Bit-shrinking, direct", "bitshrink", {"BitShrinking": {"mode": "direct"}}),
    "progressive": Method(
        "Bit-shrinking, progressive", "bitshrink", {"BitShrinking": {"mode": "progressive"}}
    ),
    "bitshrink": Method("Bit-shrinking", "bitshrink"),
    "lapq_bitshrink": Method("LAPQ, Bit-shrinking", "lapq", last=(_SHRINKING,)),
    # Parts of LAPQ, as in the paper's tables 3 and 4.
    "random": Method(
        "random ranges", "lapq", without=("LpInterpolation", "JointSearch"), first=(_RANDOM,)
    ),
    "lapq_layerwise": Method("LAPQ, layer-wise L_p", "lapq", _LAYERWISE, without=("JointSearch",)),
    "lapq_quadratic": Method("LAPQ, quadratic", "lapq", without=("JointSearch",)),
    "lapq_from_random": Method(
        "LAPQ from random ranges", "lapq", without=("LpInterpolation",), first=(_RANDOM,)
    ),
    "lapq_from_kld": Method(
        "LAPQ from KL's ranges, no labels",
        "lapq",
        _searching_by("LastStageDistance"),
        without=("LpInterpolation",),
        first=(_KL,),
    ),
    "lapq_from_layerwise": Method("LAPQ from layer-wise L_p", "lapq", _LAYERWISE),
    "bias_mmse": Method("MMSE, weights' means corrected", "mmse", first=(_BIAS,)),
    "lapq_bias": Method("LAPQ, weights' means corrected during it", "lapq", first=(_BIAS,)),
    "mmse_log": Method("MMSE, log softmax", "mmse", overrides=(_LOG,)),
    "mmse_twin_softmax": Method("MMSE, twin softmax", "mmse", overrides=(_TWIN_SOFTMAX,)),
    "mmse_twin": Method("MMSE, twin GELU", "mmse", overrides=(_TWIN,)),
    "mmse_norms": Method("MMSE, norms", "mmse", first=(_NORMS,)),
    "mmse_vit": Method("MMSE, log, twin, norms", "mmse", first=(_NORMS,), overrides=(_LOG, _TWIN)),
    "qdrop_vit": Method(
        "QDrop, log, twin, norms", "qdrop", first=(_NORMS,), overrides=(_LOG, _TWIN)
    ),
    "bitshrink_vit": Method(
        "Bit-shrinking, log, twin, norms", "bitshrink", first=(_NORMS,), overrides=(_LOG, _TWIN)
    ),
    "mmse_detr": Method("MMSE, preset `detr`", "mmse", overrides=_overrides("detr_w4a4")),
    "gptq_detr": Method("GPTQ, preset `detr`", "gptq", overrides=_overrides("detr_w4a4")),
    "lapq_then_bias": Method("LAPQ, weights' means corrected after it", "lapq", last=(_BIAS,)),
}
# What runs without --methods: the others are parts of these, or variants.
DEFAULT_METHODS = (
    "minmax",
    "percentile",
    "mmse",
    "lp",
    "kld",
    "aciq",
    "gptq",
    "lapq",
    "lapq_no_labels",
    "adaround",
    "brecq",
    "qdrop",
    "direct",
    "progressive",
    "bitshrink",
)
