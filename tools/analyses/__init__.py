"""The analyses of tools/analyze.py: arguments, measurement at one bit-width, picture and table."""

from analyses.base import Analysis, Results, Run
from analyses.landscape import Landscape
from analyses.over_p import LpPath, MetricOverP
from analyses.sensitivity import SensitivityAnalysis
from analyses.steps import Hessian, Surface

ANALYSES: dict[str, Analysis] = {
    "surface": Surface(),
    "metric-p": MetricOverP(),
    "p-path": LpPath(),
    "hessian": Hessian(),
    "landscape": Landscape(),
    "sensitivity": SensitivityAnalysis(),
}

__all__ = ["ANALYSES", "Analysis", "Results", "Run"]
