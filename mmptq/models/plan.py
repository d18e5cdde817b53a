"""The plan: every layer, its bits and granularity, and which quantizer it reads through.

It is made once from a trace and a qconfig, travels in the quantized checkpoint as JSON, and is all
that a float model needs to take the quantized model's structure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.errors import CheckpointError, ConfigError
from mmptq.models.chains import fused_calls
from mmptq.models.qconfig import QConfig
from mmptq.models.specs import TensorSpec
from mmptq.models.trace import Trace
from mmptq.modules import Operand, QuantLayer, class_name, factor_axis, quantized_class

PLAN_VERSION = 1

Act = tuple[TensorSpec, int | None]  # how a tensor is quantized, and how many channels have a step


@dataclass(frozen=True)
class LayerPlan:
    """One quantizable layer.

    Args:
        name: Module name in the detector.
        kind: Class name of the float layer, of the one that the model was built with.
        roles: ``backbone``, ``neck`` or ``head``, and ``first`` or ``last``.
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


@dataclass(frozen=True)
class SitePlan:
    """One activation quantizer.

    Args:
        name: ``<owner>:<call>``, the first layer and call that reads through it.
        owner: The layer in whose state dict it is.
        spec: How the tensor is quantized.
        watch: ``(layer, call)`` pairs at which each tensor of the site is read for the first time;
            whoever observes there sees every tensor once.
        channels: Each has a step of its own; ``None``: one step for the tensor.
    """

    name: str
    owner: str
    spec: TensorSpec
    watch: tuple[tuple[str, int], ...]
    channels: int | None = None


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
    qconfig.check_patterns(names)
    roles = {name: layer_roles(name, trace) for name in trace.calls}
    specs = {name: qconfig.resolve(name, roles[name]) for name in trace.calls}
    for name in specs:
        if isinstance(model.get_submodule(name), Operand):
            specs[name] = (None, specs[name][1])
    if all(weight is None and act is None for weight, act in specs.values()):
        raise ConfigError("qconfig leaves every layer in float; set qconfig.weight or qconfig.act")
    acts = {name: _granular(model.get_submodule(name), s[1]) for name, s in specs.items()}
    readers, sites = assign_sites(trace, acts, qconfig.per_call)
    layers = tuple(
        LayerPlan(
            name,
            class_name(model.get_submodule(name)),
            roles[name],
            specs[name][0],
            readers[name],
        )
        for name in trace.calls
    )
    folds = tuple(trace.batch_norms) if qconfig.fold_bn else ()
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
        fused_calls(trace.chains, layers, folds) if rounds else (),
    )


def _granular(layer: Any, spec: TensorSpec | None) -> Act | None:
    """How ``layer`` wants its input to be quantized by ``spec``."""
    if spec is None:
        return None
    by_channel = spec.per_channel == "depthwise" and factor_axis(layer) is not None
    return spec, layer.in_channels if by_channel else None


def layer_roles(name: str, trace: Trace) -> tuple[str, ...]:
    """Section of the layer (by its top-level module), and whether it is first or last."""
    top = name.split(".", 1)[0]
    section = top if top in ("backbone", "neck") else "head"
    edges = (("first", trace.first), ("last", trace.last))
    return (section, *(role for role, members in edges if name in members))


def assign_sites(
    trace: Trace, acts: Mapping[str, Act | None], per_call: bool
) -> tuple[dict[str, tuple[str | None, ...]], tuple[SitePlan, ...]]:
    """One site for each (tensor, act); without ``per_call`` one for all calls of a layer.

    Args:
        trace: Which tensor each call of each layer reads.
        acts: The input's spec of each layer, and the number of its steps.
        per_call: Whether the calls of a layer keep quantizers of their own.

    Returns:
        The site names that each layer's calls read through, and the sites.
    """
    groups = _Groups()
    for name, tensors in trace.calls.items():
        act = acts[name]
        if act is not None and not per_call:
            for tensor in tensors[1:]:
                groups.join((tensors[0], act), (tensor, act))
    # group -> tensor -> its first reader
    watch: dict[Any, dict[int, tuple[str, int]]] = {}
    names: dict[Any, str] = {}
    readers: dict[str, tuple[str | None, ...]] = {}
    for name, tensors in trace.calls.items():
        act = acts[name]
        if act is None:
            readers[name] = (None,)
            continue
        reads = []
        for call, tensor in enumerate(tensors):
            group = groups.find((tensor, act))
            reads.append(names.setdefault(group, f"{name}:{call}"))
            watch.setdefault(group, {}).setdefault(tensor, (name, call))
        readers[name] = (reads[0],) if len(set(reads)) == 1 else tuple(reads)
    sites = tuple(
        SitePlan(name, name.rpartition(":")[0], spec, tuple(watch[group].values()), channels)
        for group, name in names.items()
        for spec, channels in (group[1],)
    )
    return readers, sites


class _Groups:
    """Disjoint sets."""

    def __init__(self) -> None:
        self._parent: dict[Any, Any] = {}

    def find(self, item: Any) -> Any:
        while self._parent.get(item, item) != item:
            item = self._parent[item]
        return item

    def join(self, a: Any, b: Any) -> None:
        self._parent[self.find(b)] = self.find(a)
