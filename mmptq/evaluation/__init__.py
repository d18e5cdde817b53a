"""What a quantized model reaches and what it costs: results, tables, the cost model."""

from mmptq.evaluation.accuracy import TopKAccuracy
from mmptq.evaluation.cost import LayerCost, ModelCost, model_cost
from mmptq.evaluation.environment import environment
from mmptq.evaluation.plan_table import plan_summary, plan_table
from mmptq.evaluation.profile import LayerProfile, ModelProfile, nominal_shape, profile_model
from mmptq.evaluation.ranking import HitRate
from mmptq.evaluation.render import render
from mmptq.evaluation.results import Results
from mmptq.evaluation.row import FLOAT_METHOD, ResultRow

__all__ = [
    "FLOAT_METHOD",
    "HitRate",
    "LayerCost",
    "LayerProfile",
    "ModelCost",
    "ModelProfile",
    "ResultRow",
    "Results",
    "TopKAccuracy",
    "environment",
    "model_cost",
    "nominal_shape",
    "plan_summary",
    "plan_table",
    "profile_model",
    "render",
]
