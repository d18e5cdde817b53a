"""What each quantizer would do to the heads' outputs, from one backward pass an image."""

from mmptq.algorithms.sensitivity.forms import Forms, forms_at, own_forms
from mmptq.algorithms.sensitivity.second_order import Estimate, second_order

__all__ = ["Estimate", "Forms", "forms_at", "own_forms", "second_order"]
