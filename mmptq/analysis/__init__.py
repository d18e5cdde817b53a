"""Looking at the loss: over steps, over p, over weights; at what single quantizers do to it."""

from mmptq.analysis.bits import BitWidths
from mmptq.analysis.landscape import measure_landscape, symmetric_axis
from mmptq.analysis.lp_path import ModelLoss, measure_lp_errors, measure_over_p, set_lp_ranges
from mmptq.analysis.step_hessian import measure_step_hessian
from mmptq.analysis.surface import measure_step_surface

__all__ = [
    "BitWidths",
    "ModelLoss",
    "measure_landscape",
    "measure_lp_errors",
    "measure_over_p",
    "measure_step_hessian",
    "measure_step_surface",
    "set_lp_ranges",
    "symmetric_axis",
]
