r"""The cost of a model: bit operations and stored bytes.

Bit operations (van Baalen et al. 2020, "Bayesian Bits", sec. 4; the leading term of the count of
Baskin et al. 2018, "UNIQ", which adds the accumulator's width):

.. math:: \mathrm{BOPs} = \sum_{l} \sum_{k} \mathrm{MACs}_{l,k} \cdot b^w_l \cdot b^a_{l,k}

over all layers :math:`l` and their calls :math:`k`, with 32 for a float operand. A product of two
activations (attention's :math:`Q K^T` and that of the probabilities with :math:`V`) counts with the
bits of both, in float where no layer computes it. Norms, activation functions and pooling are not
counted.

Stored bytes:

.. math:: \sum_{q} (n_q b^w_q / 8 + 4 s_q) + \sum_{t} 4 s_t + 4 n_f

over the quantized weights :math:`q` of :math:`n_q` elements, the activation quantizers :math:`t`,
and the :math:`n_f` numbers that stay in float (biases, layers in float, norms that are not folded).
:math:`s` counts a quantizer's parameters: a step a channel (one if per tensor), and as many zero
points where it is affine, of a weight or of an activation. A folded batch norm is gone, but leaves
a bias. The float model stores every parameter and buffer in 4 bytes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mmptq.evaluation.profile import LayerProfile, ModelProfile, ProductProfile
from mmptq.models import LayerPlan, Plan, TensorSpec

FLOAT_BITS = 32.0
FLOAT_BYTES = 4
PRODUCTS = "products in"


@dataclass(frozen=True)
class LayerCost:
    """One layer's share.

    Args:
        profile: Name, kind, MACs and sizes.
        weight_bits: 32 for float. Of an operand of a product of two activations, the other's bits.
        input_bits: Of each call's input, 32 for float.
        weight_bytes: Of the stored weight with its quantization parameters, without the bias.
        planned: Whether the layer has a quantized form.
    """

    profile: LayerProfile
    weight_bits: float
    input_bits: tuple[float, ...]
    weight_bytes: float
    planned: bool = True

    @property
    def name(self) -> str:
        """Module name in the detector."""
        return self.profile.name

    @property
    def calls(self) -> int:
        """How often the layer runs for one image."""
        return len(self.profile.macs)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all calls for one image."""
        return sum(self.profile.macs)

    @property
    def bops(self) -> float:
        """Bit operations of all calls for one image."""
        calls = zip(self.profile.macs, self.input_bits, strict=True)
        return sum(macs * self.weight_bits * bits for macs, bits in calls)

    @property
    def quantized(self) -> bool:
        """Whether both of its operands are, in every call."""
        return max(self.weight_bits, *self.input_bits, 0.0) < FLOAT_BITS


@dataclass(frozen=True)
class FloatKind:
    """What is left in float, of one class of modules.

    Args:
        kind: Class name; ``products in <class>`` for what a module multiplies through no layer.
        count: Number of modules.
        share: Of the model's multiply-accumulate operations.
        by_choice: Whether it has a quantized form, and the qconfig leaves an operand in float.
    """

    kind: str
    count: int
    share: float
    by_choice: bool

    def __str__(self) -> str:
        text = f"{self.kind} {self.count} layer{'s' if self.count > 1 else ''}"
        text = self.kind if self.kind.startswith(PRODUCTS) else text
        return f"{text} {100 * self.share:.1f} %{' (by the qconfig)' if self.by_choice else ''}"


@dataclass(frozen=True)
class ModelCost:
    """The cost of one forward pass of one image, and of storing the model.

    Args:
        input_shape: ``(H, W)`` of the image.
        layers: In the order of first execution.
        products: What is multiplied beside the layers, in float.
        float_bytes: Size of the float model.
        packed_bytes: Size with integer weights; of a float model the same as ``float_bytes``.
    """

    input_shape: tuple[int, int]
    layers: tuple[LayerCost, ...]
    products: tuple[ProductProfile, ...]
    float_bytes: int
    packed_bytes: float

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations."""
        return sum(x.macs for x in self.layers) + sum(x.macs for x in self.products)

    def mean_bits(self) -> tuple[float, float]:
        """Of weights by their size, and of activations by the operations that read them.

        Rounded to one decimal. What is in float does not count; 32 where all of it is.
        """
        weights = [(x.profile.numel, x.weight_bits) for x in self.layers if x.profile.numel]
        calls = [
            (macs, bits)
            for layer in self.layers
            for macs, bits in zip(layer.profile.macs, layer.input_bits, strict=True)
        ]
        return _mean_bits(weights), _mean_bits(calls)

    @property
    def mac_share(self) -> float:
        """Share of the multiply-accumulate operations of which both operands are quantized."""
        quantized = sum(layer.macs for layer in self.layers if layer.quantized)
        return quantized / self.macs if self.macs else 0.0

    @property
    def float_kinds(self) -> list[FloatKind]:
        """What makes up the rest of :attr:`mac_share`, the largest first."""
        kinds: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for layer in self.layers:
            if layer.macs and not layer.quantized:
                kinds[layer.profile.kind, layer.planned].append(layer.macs)
        for product in self.products:
            kinds[f"{PRODUCTS} {product.kind}", False].append(product.macs)
        found = [
            FloatKind(kind, len(macs), sum(macs) / self.macs, by_choice)
            for (kind, by_choice), macs in kinds.items()
        ]
        return sorted(found, key=lambda item: -item.share)

    def describe_float(self) -> str:
        """:attr:`float_kinds` in one line, without what rounds to 0.0 %."""
        return ", ".join(str(kind) for kind in self.float_kinds if kind.share >= 0.0005)

    @property
    def bops(self) -> float:
        """Bit operations."""
        products = sum(product.macs for product in self.products) * FLOAT_BITS**2
        return sum(layer.bops for layer in self.layers) + products

    @property
    def gbops(self) -> float:
        """Bit operations in units of 10**9."""
        return self.bops / 1e9

    @property
    def size_mb(self) -> float:
        """Packed size in units of 10**6 bytes."""
        return self.packed_bytes / 1e6

    @property
    def float_size_mb(self) -> float:
        """Size of the float model in units of 10**6 bytes."""
        return self.float_bytes / 1e6


def model_cost(profile: ModelProfile, plan: Plan | None = None) -> ModelCost:
    """Cost of the profiled model when it is quantized as ``plan`` says; ``None`` for float.

    The profile may be of the float or of the prepared model (whose ``float_bytes`` then lacks the
    batch norms that were folded).

    Raises:
        ValueError: The plan and the profile disagree about how often a layer runs.
    """
    planned = {layer.name: layer for layer in plan.layers} if plan else {}
    sites = {site.name: site.spec for site in plan.sites} if plan else {}
    layers = tuple(_layer_cost(layer, planned, sites) for layer in profile.layers)
    quantized = [layer for layer in layers if layer.weight_bits < FLOAT_BITS]
    remaining = profile.numel
    if plan is not None:
        remaining = profile.expanded_numel + _folding_change(profile, plan)
    remaining -= sum(layer.profile.numel for layer in quantized)
    packed = (
        FLOAT_BYTES * remaining
        + sum(layer.weight_bytes for layer in quantized)
        + sum(_params_bytes(site.spec, site.channels or 1) for site in (plan.sites if plan else ()))
    )
    float_bytes = FLOAT_BYTES * profile.numel
    return ModelCost(profile.input_shape, layers, profile.products, float_bytes, packed)


def _mean_bits(parts: Sequence[tuple[int, float]]) -> float:
    parts = [(size, bits) for size, bits in parts if bits < FLOAT_BITS]
    total = sum(size for size, _ in parts)
    return round(sum(size * bits for size, bits in parts) / total, 1) if total else FLOAT_BITS


def _layer_cost(
    layer: LayerProfile, planned: dict[str, LayerPlan], sites: dict[str, TensorSpec]
) -> LayerCost:
    calls, plan = len(layer.macs), planned.get(layer.name)
    if plan is None:
        bits, size = (FLOAT_BITS,) * calls, FLOAT_BYTES * layer.numel
        return LayerCost(layer, FLOAT_BITS, bits, size, planned=False)
    inputs = plan.inputs * calls if len(plan.inputs) == 1 else plan.inputs
    if len(inputs) != calls:
        raise ValueError(
            f"{layer.name} runs {calls} times at the nominal input shape and "
            f"{len(inputs)} times in the plan"
        )
    input_bits = tuple(FLOAT_BITS if s is None else sites[s].num_bits for s in inputs)
    if layer.other is not None:
        # All calls of an operand have one spec.
        site = planned[layer.other].inputs[0]
        return LayerCost(layer, FLOAT_BITS if site is None else sites[site].num_bits, input_bits, 0)
    spec = plan.weight
    if not layer.numel:  # read by an addition: there is nothing but the input
        return LayerCost(layer, max(input_bits), input_bits, 0)
    if spec is None:
        return LayerCost(layer, FLOAT_BITS, input_bits, FLOAT_BYTES * layer.numel)
    steps = layer.steps if spec.per_channel else 1
    weight_bytes = layer.numel * spec.num_bits / 8 + _params_bytes(spec, steps)
    return LayerCost(layer, spec.num_bits, input_bits, weight_bytes)


def _params_bytes(spec: TensorSpec, steps: int) -> int:
    """Bytes of a quantizer's steps, and of its zero points where it has any."""
    return FLOAT_BYTES * steps * (1 if spec.symmetric else 2)


def _folding_change(profile: ModelProfile, plan: Plan) -> int:
    """Float numbers that folding adds (or removes, if negative); 0 if that has happened already."""
    layers = {layer.name: layer for layer in profile.layers}
    change = 0
    for layer_name, norm in plan.folds:
        if norm in profile.norms:
            layer = layers[layer_name]
            change += (0 if layer.has_bias else layer.out_channels) - profile.norms[norm]
    return change
