"""The demo detection set, as an MMDetection dataset."""

from mmptq.datasets.digits import DigitsDetection, make_digits

__all__ = ["DigitsDetection", "make_digits"]
