"""The plan: every layer, its bits and granularity, and which quantizer it reads through.

It is made once from a trace and a qconfig, travels in the quantized checkpoint as JSON, and is all
that a float model needs to take the quantized model's structure.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.errors import CheckpointError, ConfigError
from mmptq.models.chains import fused_calls
from mmptq.models.kinds import has_own_levels
from mmptq.models.outputs import OUTPUT, OutputCalls, find_outputs, output_calls, with_outputs
from mmptq.models.qconfig import QConfig
from mmptq.models.sites import Act, SitePlan, assign_sites
from mmptq.models.specs import TensorSpec
from mmptq.models.trace import Trace
from mmptq.modules import (
    OUTPUTS,
    Operand,
    Output,
    QuantLayer,
    class_name,
    factor_axis,
    quantized_class,
)

PLAN_VERSION = 1


@dataclass(frozen=True)
class LayerPlan:
    """One quantizable layer, or what reads the output of one.

    Args:
        name: Module name in the detector.
        kind: Class name of the float layer, of the one that the model was built with; a key of
            :data:`mmptq.modules.OUTPUTS` for what reads an output.
        roles: ``backbone``, ``neck`` or ``head``, and ``first``, ``last``, ``depthwise``,
            ``embedding``, ``softmax`` or ``gelu``.
        weight: Spec of the weight, ``None`` for float or where there is none (an operand of a
            product of two activations).
        inputs: Name of the site that each call reads through (one entry serves all calls),
            ``None`` for float.
    """

    name: str
    kind: str
    roles: tuple[str, ...]
    weight: TensorSpec | None
    inputs: tuple[str | None, ...]

    @property
    def host(self) -> str:
        """The layer whose output it reads, or its own name: a module of the float model."""
        return self.name.removesuffix(f".{OUTPUT}") if self.kind in OUTPUTS else self.name


@dataclass(frozen=True)
class Plan:
    """The whole model's plan.

    Args:
        model_type: Class name of the float model it was made for.
        scope: The qconfig's scope preset.
        folds: ``(layer, batch norm)`` pairs to fold.
        layers: In the order of first execution.
        sites: In the order of first reading.
        unplanned: Quantizable layers that the trace never ran; they stay float.
        weights: Layers that make their weight of parameters and get the weight itself in place of
            these, before anything is folded.
        links: ``(before, after)`` pairs of layers between which a positive factor per channel can
            move, see :mod:`mmptq.models.links`.
        target: Runtime that the plan was made for.
        int32_bias: Calls of layers whose biases are whole multiples of the product of both steps.
    """

    model_type: str
    scope: str
    folds: tuple[tuple[str, str], ...]
    layers: tuple[LayerPlan, ...]
    sites: tuple[SitePlan, ...]
    unplanned: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    int32_bias: tuple[tuple[str, int], ...] = ()

    def to_tensor(self) -> Tensor:
        """The plan as UTF-8 JSON in a uint8 tensor, a form that every state dict keeps."""
        text = json.dumps({"version": PLAN_VERSION, **asdict(self)}, sort_keys=True)
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    @classmethod
    def from_tensor(cls, data: Tensor) -> "Plan":
        """Inverse of :meth:`to_tensor`.

        Raises:
            CheckpointError: The bytes are no plan, or one of another version.
        """
        try:
            raw = json.loads(bytes(data.tolist()).decode())
            version = raw.pop("version")
            if version == PLAN_VERSION:
                return cls._from_json(raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"the checkpoint's quantization plan is unreadable ({error!r}); "
                "the file is damaged: quantize the float model again"
            ) from error
        raise CheckpointError(
            f"the checkpoint's quantization plan has version {version}, this mmptq reads "
            f"{PLAN_VERSION}; quantize the float model again"
        )

    @classmethod
    def _from_json(cls, raw: Mapping[str, Any]) -> "Plan":
        return cls(
            raw["model_type"],
            raw["scope"],
            tuple((a, b) for a, b in raw["folds"]),
            tuple(_layer_from(d) for d in raw["layers"]),
            tuple(_site_from(d) for d in raw["sites"]),
            tuple(raw["unplanned"]),
            tuple(raw.get("weights", ())),
            tuple((a, b) for a, b in raw.get("links", ())),
            raw.get("target"),
            tuple((name, call) for name, call in raw.get("int32_bias", ())),
        )


def _layer_from(d: Mapping[str, Any]) -> LayerPlan:
    weight = None if d["weight"] is None else TensorSpec(**d["weight"])
    return LayerPlan(d["name"], d["kind"], tuple(d["roles"]), weight, tuple(d["inputs"]))


def _site_from(d: Mapping[str, Any]) -> SitePlan:
    watch = tuple((layer, call) for layer, call in d["watch"])
    spec = TensorSpec(**d["spec"])
    return SitePlan(d["name"], d["owner"], spec, watch, d.get("channels"))


def quantizable_layers(model: nn.Module) -> list[str]:
    """Names of the layers that have a quantized counterpart, or are one.

    Some exist only while the model is expanded (:func:`mmptq.modules.expanded_modules`).
    """
    return [name for name, module in model.named_modules() if _is_quantizable(module)]


def _is_quantizable(module: nn.Module) -> bool:
    if isinstance(module, Output):  # a part of a layer
        return False
    return isinstance(module, QuantLayer) or quantized_class(module) is not None


def build_plan(model: nn.Module, trace: Trace, qconfig: QConfig) -> Plan:
    """Resolve ``qconfig`` for every layer that ``trace`` saw.

    Args:
        model: Expanded as it was when it was traced.
        trace: Of all its quantizable layers.
        qconfig: What the user wants.

    Raises:
        ConfigError: A pattern matches no layer, or nothing at all would be quantized.
    """
    names = quantizable_layers(model)
    entries = {name: _entry(model, name, trace, qconfig) for name in trace.calls}
    folds = tuple(trace.batch_norms) if qconfig.fold_bn else ()
    layers, sites = _resolved(trace.calls, entries, qconfig)
    outputs: list[OutputCalls] = []
    if qconfig.target is not None and qconfig.target.quantize_outputs:
        outputs = find_outputs(model, trace, layers, sites, folds)
    qconfig.check_patterns([*names, *(output.name for output in outputs)])
    if all(entry.weight is None and entry.act is None for entry in entries.values()):
        raise ConfigError("qconfig leaves every layer in float; set qconfig.weight or qconfig.act")
    read = {x.name: _output_entry(x, entries[x.layer], qconfig) for x in outputs}
    outputs = [x for x in outputs if read[x.name].act is not None]
    if outputs:
        calls = with_outputs(trace.calls, outputs)
        layers, sites = _resolved(calls, {**entries, **read}, qconfig)
    unplanned = tuple(name for name in names if name not in trace.calls)
    weights = tuple(n for n in trace.calls if hasattr(model.get_submodule(n), "folded_from"))
    # A norm that stays has statistics of its own: no factor passes it.
    links = tuple(
        (link.before, link.after)
        for link in trace.links
        if link.norm is None or (link.before, link.norm) in folds
    )
    target = qconfig.target
    rounds = target is not None and target.int32_bias
    fused = {*fused_calls(trace.chains, layers, folds), *output_calls(outputs)}
    return Plan(
        type(model).__name__,
        qconfig.scope,
        folds,
        layers,
        sites,
        unplanned,
        weights,
        links,
        None if target is None else target.name,
        tuple(sorted(fused)) if rounds else (),
    )


@dataclass(frozen=True)
class _Entry:
    """What the qconfig says of one layer."""

    kind: str
    roles: tuple[str, ...]
    weight: TensorSpec | None
    act: Act | None


def _entry(model: nn.Module, name: str, trace: Trace, qconfig: QConfig) -> _Entry:
    layer = model.get_submodule(name)
    roles = layer_roles(name, trace, layer)
    weight, act = qconfig.resolve(name, roles)
    weight = None if isinstance(layer, Operand) else weight
    act = None if isinstance(layer, nn.Embedding) else act  # it reads numbers of rows
    return _Entry(class_name(layer), roles, weight, _granular(layer, act))


def _output_entry(output: OutputCalls, layer: _Entry, qconfig: QConfig) -> _Entry:
    """Of the same kind of codes as the layer's input, with bits of its own."""
    assert layer.act is not None
    spec = qconfig.resolve_output(output.layer, output.name, layer.act[0])
    act = None if spec is None else (spec, None)
    return _Entry(output.kind, layer.roles[:1], None, act)


def _resolved(
    calls: Mapping[str, Sequence[int | None]], entries: Mapping[str, _Entry], qconfig: QConfig
) -> tuple[tuple[LayerPlan, ...], tuple[SitePlan, ...]]:
    """The plans of layers that read these tensors, and of the sites that they read through."""
    acts = {name: entries[name].act for name in calls}
    readers, sites = assign_sites(calls, acts, qconfig.per_call)
    found = ((name, entries[name], readers[name]) for name in calls)
    return tuple(LayerPlan(n, e.kind, e.roles, e.weight, sites) for n, e, sites in found), sites


def _granular(layer: Any, spec: TensorSpec | None) -> Act | None:
    """How ``layer`` wants its input to be quantized by ``spec``."""
    if spec is None:
        return None
    one_step = spec.per_channel != "depthwise" or has_own_levels(spec)
    by_channel = not one_step and factor_axis(layer) is not None
    return spec, layer.in_channels if by_channel else None


def layer_roles(name: str, trace: Trace, layer: nn.Module) -> tuple[str, ...]:
    """Section of the layer (by its top-level module), its place and its kind.

    First and last are layers; a table that is looked up is an ``embedding``, though nothing stands
    before it: most protocols leave the first layer more bits for what an image holds. Layers that
    read just what softmax or GELU gave are ``softmax`` and ``gelu``.
    """
    top = name.split(".", 1)[0]
    section = top if top in ("backbone", "neck") else "head"
    edges = (("first", trace.first), ("last", trace.last))
    by_channel = not isinstance(layer, Operand) and factor_axis(layer) is not None
    kinds = (("depthwise", by_channel), ("embedding", isinstance(layer, nn.Embedding)))
    found = [role for role, members in edges if name in members]
    source = trace.sources.get(name)
    behind = () if source is None else (source,)
    return (section, *found, *(role for role, fits in kinds if fits), *behind)
