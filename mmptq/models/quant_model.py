"""The wrapper that carries a model's quantization."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmptq.errors import CheckpointError
from mmptq.models.bits import without_bits
from mmptq.models.fold import fold_batch_norms
from mmptq.models.packing import PACKED_KEY, unpack_state
from mmptq.models.plan import LayerPlan, Plan
from mmptq.models.sites import SitePlan
from mmptq.models.specs import TensorSpec
from mmptq.modules import (
    OUTPUTS,
    Operand,
    QuantLayer,
    class_name,
    expand_modules,
    expanded_modules,
    factor_axis,
    replace_module,
    to_quantized,
)
from mmptq.quantizers import UniformQuantizer
from mmptq.registry import QUANTIZERS, build

PLAN_KEY = "quant_plan"


class QuantModel(BaseModel):
    """A float model that takes its quantized form when it is given a plan.

    Loading decides: a float checkpoint (with or without the wrapper's prefix) gives the float
    model, a quantized checkpoint holds its plan, so the model prepares itself and then loads. This
    works through every loader that calls ``_load_from_state_dict``, torch's and MMEngine's. There a
    packed checkpoint is unpacked, too.

    Args:
        model: The float model.
        name: Attribute under which it is kept; also its prefix in the state dict.
    """

    quant_plan: Tensor

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__(data_preprocessor=getattr(model, "data_preprocessor", None))
        self._name = name
        setattr(self, name, model)
        self.plan: Plan | None = None
        self.sites: dict[str, UniformQuantizer] = {}
        self.register_load_state_dict_pre_hook(_prepare_for_state)

    @property
    def model(self) -> nn.Module:
        """The wrapped model."""
        return getattr(self, self._name)

    def prepare(self, plan: Plan) -> None:
        """Fold, expand, swap and attach quantizers as ``plan`` says; they have no range yet.

        Raises:
            CheckpointError: The plan is of another model.
            RuntimeError: The model is prepared already.
        """
        if self.plan is not None:
            raise RuntimeError("the model is prepared already; build a new one")
        with expanded_modules(self.model):
            check_plan_fits(plan, self.model)
        expand_modules(self.model, plan.weights)
        fold_batch_norms(self.model, plan.folds)
        for layer_plan in plan.layers:
            self._swap(layer_plan, plan)
        self._attach_sites(plan)
        self.plan = plan
        device = next(self.model.parameters()).device
        self.register_buffer(PLAN_KEY, plan.to_tensor())
        self.to(device)

    def _swap(self, layer_plan: LayerPlan, plan: Plan) -> None:
        if layer_plan.kind in OUTPUTS:  # its layer comes before it
            host: Any = self.model.get_submodule(layer_plan.host)
            host.output = OUTPUTS[layer_plan.kind].from_float(Operand())
            return
        float_layer = self.model.get_submodule(layer_plan.name)
        layer = to_quantized(float_layer)
        calls = (call for name, call in plan.int32_bias if name == layer_plan.name)
        layer.int32_bias = frozenset(calls)
        if layer_plan.weight is not None:
            layer.weight_quantizer = make_weight_quantizer(layer_plan.weight, layer)
        replace_module(self.model, float_layer, layer)

    def _attach_sites(self, plan: Plan) -> None:
        layers = dict(self.quant_layers())
        for site in plan.sites:
            self.sites[site.name] = make_site_quantizer(site, layers[site.owner])
            layers[site.owner].input_quantizers.append(self.sites[site.name])
        for layer_plan in plan.layers:
            readers = [None if s is None else self.sites[s] for s in layer_plan.inputs]
            layers[layer_plan.name].bind_inputs(readers)

    def quant_layers(self) -> Iterator[tuple[str, QuantLayer]]:
        """``(name, layer)`` of every swapped layer, named as in the plan."""
        for name, module in self.model.named_modules():
            if isinstance(module, QuantLayer):
                yield name, module

    def weight_quantizers(self) -> dict[str, UniformQuantizer]:
        """Layer name -> quantizer of its weight, where it has one."""
        named = ((name, layer.weight_quantizer) for name, layer in self.quant_layers())
        return {name: quantizer for name, quantizer in named if quantizer is not None}

    def enable_quantizers(self, weights: bool, activations: bool) -> None:
        """Switch all quantizers that have a range on or off."""
        for quantizer in self.weight_quantizers().values():
            quantizer.enabled = weights and quantizer.calibrated
        for quantizer in self.sites.values():
            quantizer.enabled = activations and quantizer.calibrated

    def set_bits(self, plan: Plan) -> None:
        """Take the bit-widths of another plan; clip ranges stay (``forget_ranges`` drops them).

        Args:
            plan: Equal to the model's own but for bit-widths.

        Raises:
            ValueError: It differs by more.
        """
        if self.plan is None or without_bits(plan) != without_bits(self.plan):
            raise ValueError("the plan differs from the model's by more than bit-widths")
        weights = self.weight_quantizers()
        for layer in plan.layers:
            if layer.weight is not None:
                weights[layer.name].set_num_bits(layer.weight.num_bits)
        for site in plan.sites:
            self.sites[site.name].set_num_bits(site.spec.num_bits)
        self.plan = plan
        self.register_buffer(PLAN_KEY, plan.to_tensor().to(self.quant_plan.device))

    def forget_ranges(self) -> None:
        """Take the range of every quantizer away, and what was measured with it."""
        for quantizer in (*self.weight_quantizers().values(), *self.sites.values()):
            quantizer.forget_range()
        self.forget_bias_corrections()

    def forget_bias_corrections(self) -> None:
        """Take measured corrections away: they are of the ranges with which they were measured."""
        for _, layer in self.quant_layers():
            layer.set_bias_correction(None)

    def float_weights(self) -> dict[str, Tensor]:
        """Layer name -> float weight, of the layers with rounded values in the weight's place."""
        kept = ((name, layer.float_weight) for name, layer in self.quant_layers())
        return {name: weight for name, weight in kept if weight is not None}

    def set_float_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Let these layers have a float weight, and the others none: what is not in the state dict.

        Args:
            weights: As :meth:`float_weights` gives them.
        """
        for name, layer in self.quant_layers():
            layer.float_weight = None
            if name in weights:
                layer.keep_float_weight(weights[name].to(layer.weight))

    def start_pass(self) -> None:
        """Tell the layers that a new forward pass begins."""
        if self.plan is not None:
            for _, layer in self.quant_layers():
                layer.reset_calls()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The wrapped model's forward."""
        self.start_pass()
        return self.model(*args, **kwargs)


def build_float_model(cfg: dict[str, Any]) -> nn.Module:
    """Build the float model of a wrapper; names without a scope are MMDetection's by default."""
    scope = DefaultScope.get_current_instance()
    if scope is None or scope.scope_name in ("mmengine", "mmptq"):
        cfg = {**cfg, "_scope_": "mmdet"}
    return ROOT_MODELS.build(cfg)


def make_weight_quantizer(spec: TensorSpec, layer: QuantLayer) -> UniformQuantizer:
    """Build the quantizer of a layer's weight."""
    if not spec.per_channel:
        return make_quantizer(spec)
    axis = layer.ch_axis
    return make_quantizer(spec, ch_axis=axis, num_channels=layer.weight.shape[axis])


def make_site_quantizer(site: SitePlan, owner: QuantLayer) -> UniformQuantizer:
    """Build the quantizer of an activation that ``owner`` reads."""
    if site.channels is None:
        return make_quantizer(site.spec)
    axis = factor_axis(owner)
    if axis is None:
        raise CheckpointError(
            f"the quantized checkpoint has a step a channel for what {site.owner!r} reads, no "
            "depthwise layer in the config's model; use the config it was made with"
        )
    return make_quantizer(site.spec, ch_axis=axis, num_channels=site.channels)


def make_quantizer(spec: TensorSpec, **channels: int) -> UniformQuantizer:
    """Build the quantizer of one tensor, with one step or a step per channel."""
    cfg: dict[str, Any] = {"type": spec.type, "num_bits": spec.num_bits, **channels}
    return build(QUANTIZERS, cfg, "qconfig", symmetric=spec.symmetric)


def check_plan_fits(plan: Plan, model: nn.Module) -> None:
    """Make sure that ``plan`` was made for a model built as ``model`` is.

    Raises:
        CheckpointError: It was not; the message names the first difference.
    """
    if plan.model_type != type(model).__name__:
        raise CheckpointError(
            f"the quantized checkpoint was made from a {plan.model_type}, the config builds a "
            f"{type(model).__name__}; use the config it was made with"
        )
    modules = dict(model.named_modules())
    wanted = {name: "" for pair in plan.folds for name in pair}
    wanted.update({x.name: x.kind for x in plan.layers if x.kind not in OUTPUTS})
    for name, kind in wanted.items():
        if name not in modules:
            raise CheckpointError(
                f"the quantized checkpoint has a layer {name!r} that the config's "
                f"{plan.model_type} lacks; use the config it was made with"
            )
        built = class_name(modules[name])
        if kind and built != kind:
            raise CheckpointError(
                f"the layer {name!r} is a {kind} in the quantized checkpoint and a {built} in the "
                f"config's {plan.model_type}; use the config it was made with"
            )


def _prepare_for_state(
    module: QuantModel, state_dict: dict[str, Tensor], prefix: str, *_: Any
) -> None:
    """Load hook: take the form that ``state_dict`` asks for."""
    plan_key, inner = prefix + PLAN_KEY, f"{prefix}{module._name}."
    if prefix + PACKED_KEY in state_dict:
        unpack_state(state_dict, prefix)
    if plan_key in state_dict:
        _prepare_from_checkpoint(module, state_dict, prefix)
        return
    if module.plan is not None:
        raise CheckpointError(
            "a float checkpoint was given to a model that is quantized already; build a new model"
        )
    if not any(key.startswith(inner) for key in state_dict):
        for key in [k for k in state_dict if k.startswith(prefix)]:
            state_dict[inner + key[len(prefix) :]] = state_dict.pop(key)


def _prepare_from_checkpoint(
    module: QuantModel, state_dict: dict[str, Tensor], prefix: str
) -> None:
    plan = Plan.from_tensor(state_dict[prefix + PLAN_KEY])
    if module.plan is None:
        module.prepare(plan)
    elif module.plan != plan:
        raise CheckpointError(
            "the quantized checkpoint has another plan than the model; build a new model"
        )
    # An older mmptq wrote the same plan in other bytes, without what has been added since.
    state_dict[prefix + PLAN_KEY] = module.quant_plan
    # A layer takes the corrections and factors that the state has, and gives up those it has not.
    expected = {
        prefix + key: value.shape
        for key, value in module.state_dict().items()
        if key.rpartition(".")[2] not in QuantLayer.OPTIONAL
    }
    missing = [key for key in expected if key not in state_dict]
    if missing:
        raise CheckpointError(
            f"the quantized checkpoint lacks {len(missing)} tensors of the model, first "
            f"{missing[0]!r}; it is incomplete or of another model"
        )
    for key, shape in expected.items():
        if state_dict[key].shape != shape:
            raise CheckpointError(
                f"{key} has shape {tuple(state_dict[key].shape)} in the quantized checkpoint and "
                f"{tuple(shape)} in the model; use the config it was made with"
            )
