"""Quantizers map a tensor to its fake-quantized tensor."""

from mmptq.quantizers.uniform import UniformQuantizer

__all__ = ["UniformQuantizer"]
