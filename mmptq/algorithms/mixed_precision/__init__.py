"""A bit-width for each tensor, by an integer program over what each costs and saves."""

from mmptq.algorithms.mixed_precision.mixed_precision import MixedPrecision

__all__ = ["MixedPrecision"]
