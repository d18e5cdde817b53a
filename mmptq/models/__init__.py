"""Model wrappers that carry the quantization, and the plan of what is quantized how."""

from mmptq.models.digest import model_digest, state_digest
from mmptq.models.links import Link, has_own_weight, parameter_owners
from mmptq.models.outputs import OUTPUT
from mmptq.models.packing import PACKED_KEY, packed_state, stays_float
from mmptq.models.plan import LayerPlan, Plan, build_plan, quantizable_layers
from mmptq.models.qconfig import QConfig
from mmptq.models.quant_classifier import QuantClassifier
from mmptq.models.quant_detector import QuantDetector
from mmptq.models.quant_model import PLAN_KEY, QuantModel
from mmptq.models.quant_recommender import QuantRecommender
from mmptq.models.scopes import SCOPES
from mmptq.models.sites import SitePlan
from mmptq.models.specs import TensorSpec
from mmptq.models.trace import Trace, trace

__all__ = [
    "OUTPUT",
    "PACKED_KEY",
    "PLAN_KEY",
    "SCOPES",
    "LayerPlan",
    "Link",
    "Plan",
    "QConfig",
    "QuantClassifier",
    "QuantDetector",
    "QuantModel",
    "QuantRecommender",
    "SitePlan",
    "TensorSpec",
    "Trace",
    "build_plan",
    "has_own_weight",
    "model_digest",
    "packed_state",
    "parameter_owners",
    "quantizable_layers",
    "state_digest",
    "stays_float",
    "trace",
]
