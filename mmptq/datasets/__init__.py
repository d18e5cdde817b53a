"""Datasets: the demo detection set, and folders of classified images with their transforms."""

from mmptq.datasets.class_transforms import PackClassInputs, ResizeEdge
from mmptq.datasets.digit_crops import DigitCrops, ShiftAndRecolour, make_digit_crops
from mmptq.datasets.digits import DigitsDetection, make_digits
from mmptq.datasets.image_folder import ImageFolder

__all__ = [
    "DigitCrops",
    "DigitsDetection",
    "ImageFolder",
    "PackClassInputs",
    "ResizeEdge",
    "ShiftAndRecolour",
    "make_digit_crops",
    "make_digits",
]
