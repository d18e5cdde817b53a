"""Hooks watch a calibration, and never change a number."""

from mmptq.hooks.detections import KeepDetectionsHook
from mmptq.hooks.logging import CalibrationLoggingHook
from mmptq.hooks.pictures import DetectionPictureHook
from mmptq.hooks.progress import CalibrationProgressHook
from mmptq.hooks.report import ReportHook
from mmptq.hooks.save import SaveQuantizedHook

__all__ = [
    "CalibrationLoggingHook",
    "CalibrationProgressHook",
    "DetectionPictureHook",
    "KeepDetectionsHook",
    "ReportHook",
    "SaveQuantizedHook",
]
