"""What cannot be exported is refused before anything is written."""

import importlib.util

from mmcv.ops import DeformConv2d, ModulatedDeformConv2d

from mmptq.errors import CheckpointError, ConfigError
from mmptq.models import Plan, QuantModel
from mmptq.modules import class_name
from mmptq.quantizers import UniformQuantizer
from mmptq.runtime import RUNTIMES
from mmptq.targets import Target

MAX_BITS = 8


def check_installed(target: Target) -> None:
    """Make sure that the packages of an export are there.

    Raises:
        ConfigError: One is not.
    """
    runtime = RUNTIMES[target.runtime]
    for package in ("onnx", runtime.package):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"--target {target.name} needs {package}: pip install 'mmptq[{runtime.extra}]'"
            )


def check_exportable(model: QuantModel, target: Target) -> None:
    """Make sure that every quantizer has a form in the graph.

    Raises:
        CheckpointError: The model is not quantized.
        ConfigError: Layers have quantizers that integers, or the target, cannot hold.
    """
    weights = {k: q for k, q in model.weight_quantizers().items() if q.enabled}
    sites = {k: q for k, q in model.sites.items() if q.enabled}
    if not weights and not sites:
        raise CheckpointError(
            "the checkpoint is not quantized: give quantized.pth, which tools/quantize.py writes"
        )
    for name, module in model.model.named_modules():
        if isinstance(module, DeformConv2d | ModulatedDeformConv2d):
            raise ConfigError(
                f"{name}: a {class_name(module)} is deformable, and would become an operator that "
                "no runtime opens; detectors with such layers cannot be exported"
            )
    for name, layer in model.quant_layers():
        if layer.weight_correction is not None:
            raise ConfigError(
                f"{name}: BiasCorrection(mode='weights') shifts the channels of weights, which are "
                "no integers then; quantize with mode='measured', which changes biases"
            )
    for kind, quantizers in (("weight", weights), ("act", sites)):
        for name, quantizer in quantizers.items():
            _check_levels(name, kind, quantizer)
            _check_bits(name, kind, quantizer)
    for name, quantizer in sites.items():
        _check_target(name, quantizer, target)


def target_note(plan: Plan, target: Target) -> str | None:
    """One line where a plan was made for another runtime than it is exported for.

    Returns:
        ``None`` where there is nothing to say.
    """
    rounds = bool(plan.int32_bias)
    remedy = f"to have both equal, quantize with qconfig.target={target.name}"
    if rounds and not target.int32_bias:
        difference = "which keeps biases as they are where the simulation rounds them; " + remedy
    elif target.int32_bias and not rounds:
        difference = "which rounds biases where the simulation keeps them as they are; " + remedy
    elif plan.target in (None, target.name):
        return None
    else:
        difference = "whose rules are the same for it"
    made = "no target" if plan.target is None else plan.target
    return f"the checkpoint was made for {made} and is exported for {target.name}, {difference}"


def _check_levels(name: str, kind: str, quantizer: UniformQuantizer) -> None:
    if not quantizer.exportable:
        raise ConfigError(
            f"{name}: {kind}.type = {type(quantizer).__name__!r}: its levels are not evenly "
            "spaced, and no runtime computes with such codes; quantize this layer with the "
            "default type, UniformQuantizer"
        )


def _check_bits(name: str, kind: str, quantizer: UniformQuantizer) -> None:
    bits = quantizer.scheme.num_bits
    if bits % 1 or bits > MAX_BITS:
        raise ConfigError(
            f"{name}: {kind}.num_bits = {bits:g}: a graph holds whole numbers of at most "
            f"{MAX_BITS} bits; quantize with fewer, or leave the layer in float by "
            "qconfig.overrides"
        )


def _check_target(name: str, quantizer: UniformQuantizer, target: Target) -> None:
    if not target.zero_points and bool((quantizer.zero_point != 0).any()):
        problem = "has a zero point"
    elif not target.unsigned and not quantizer.scheme.signed:
        problem = "has unsigned codes"
    else:
        return
    raise ConfigError(
        f"--target {target.name}: the input of {name} {problem}, which it cannot hold; quantize "
        "with --qconfig configs/_base_/quant/w8a8_tensorrt.py, or choose another target"
    )
