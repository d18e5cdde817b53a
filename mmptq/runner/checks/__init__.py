"""Checks that come before any long work."""

from mmptq.runner.checks.annotations import annotation_at_fault, check_truth
from mmptq.runner.checks.classes import check_class_names, check_classes
from mmptq.runner.checks.float_model import float_model_on
from mmptq.runner.checks.trial import try_evaluator, written_attributes
from mmptq.runner.checks.work_dir import check_writable

__all__ = [
    "annotation_at_fault",
    "check_class_names",
    "check_classes",
    "check_truth",
    "check_writable",
    "float_model_on",
    "try_evaluator",
    "written_attributes",
]
