"""Datasets: the demo sets, folders of classified images with their transforms, users and items."""

from mmptq.datasets.class_transforms import PackClassInputs, ResizeEdge
from mmptq.datasets.digit_crops import DigitCrops, ShiftAndRecolour, make_digit_crops
from mmptq.datasets.digits import DigitsDetection, make_digits
from mmptq.datasets.image_folder import ImageFolder
from mmptq.datasets.user_items import CandidateLists, RatedItems

__all__ = [
    "CandidateLists",
    "DigitCrops",
    "DigitsDetection",
    "ImageFolder",
    "PackClassInputs",
    "RatedItems",
    "ResizeEdge",
    "ShiftAndRecolour",
    "make_digit_crops",
    "make_digits",
]
