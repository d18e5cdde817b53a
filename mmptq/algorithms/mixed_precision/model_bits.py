"""The quantizers of a model at all bit-widths that there are to choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmptq.algorithms.mixed_precision.groups import Allocation, Group
from mmptq.algorithms.sensitivity import Forms, forms_at
from mmptq.engine import CalibrationContext
from mmptq.observers import Observer
from mmptq.quantizers import UniformQuantizer


@dataclass(frozen=True)
class ModelBits:
    """A model whose bit-widths are moved.

    Args:
        groups: In the order of an allocation.
        forms: Of each layer's weight and each site, a quantizer with its range for each choice.
        quantizers: The model's own.
    """

    groups: Sequence[Group]
    forms: Forms
    quantizers: Mapping[str, UniformQuantizer]

    @classmethod
    def of(
        cls, context: CalibrationContext, groups: Sequence[Group], weight: Observer, act: Observer
    ) -> "ModelBits":
        """Find all ranges.

        Args:
            context: Its model is left as it is.
            groups: Of its plan.
            weight: Observer of the weights.
            act: Observer of the activations.
        """
        model = context.model
        wanted = {name: group.choices for group in groups for name in group.members}
        forms = forms_at(context, wanted, weight, act)
        return cls(groups, forms, {**model.sites, **model.weight_quantizers()})

    def apply(self, allocation: Allocation) -> None:
        """Give every quantizer its bit-width and its range, and switch it on."""
        for group, i in zip(self.groups, allocation, strict=True):
            for name in group.members:
                quantizer, form = self.quantizers[name], self.forms[name][i]
                quantizer.set_num_bits(form.scheme.num_bits)
                quantizer.set_range(form.range_low, form.range_high)
