"""Quantization from Python: one function, and what it returns."""

from mmptq.apis.quantize import quantize
from mmptq.apis.result import QuantResult

__all__ = ["QuantResult", "quantize"]
