"""The preset for DETRs picks the same layers in all of MMDetection's."""

import fnmatch
from functools import cache

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import tests.conformance.narrow  # noqa: F401
from mmptq.adapters import find_adapter
from mmptq.models import Plan, QConfig
from tests.conformance.families import load_families
from tests.tiny_project import REPO

QUANT = REPO / "configs/_base_/quant"
