"""The analyses of tools/analyze.py: arguments, measurement at one bit-width, picture and table."""

from mmptq.cli.analyses.base import Analysis, Results, Run
from mmptq.cli.analyses.landscape import Landscape
from mmptq.cli.analyses.over_p import LpPath, MetricOverP
from mmptq.cli.analyses.sensitivity import SensitivityAnalysis
from mmptq.cli.analyses.steps import Hessian, Surface

ANALYSES: dict[str, Analysis] = {
    "surface": Surface(),
    "metric-p": MetricOverP(),
    "p-path": LpPath(),
    "hessian": Hessian(),
    "landscape": Landscape(),
    "sensitivity": SensitivityAnalysis(),
}

__all__ = ["ANALYSES", "Analysis", "Results", "Run"]
