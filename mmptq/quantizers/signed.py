"""The uniform quantizer of runtimes that know signed codes only."""

from dataclasses import replace

from torch import Tensor
from typing_extensions import override

from mmptq.ops import QuantScheme
from mmptq.quantizers.uniform import UniformQuantizer
from mmptq.registry import QUANTIZERS


@QUANTIZERS.register_module()
class SignedQuantizer(UniformQuantizer):
    """A symmetric quantizer whose codes are signed also where no value is negative.

    TensorRT's 8-bit activations are such: behind a ReLU, half of the codes are never used.
    """

    @override
    def scheme_for(self, low: Tensor) -> QuantScheme:
        return replace(self.scheme, signed=self.scheme.symmetric)
