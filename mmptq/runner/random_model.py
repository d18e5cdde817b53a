"""The model of a config without any file's weights."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmptq.models import QuantModel
from mmptq.registry import nested_dicts, type_name


def random_model(cfg: Config) -> nn.Module:
    """Build the float model of a wrapped ``cfg.model``, as a training would begin with it.

    Weights as modules are made with are not enough: some models cannot run before they are
    initialised (Sparse R-CNN's proposals).
    """
    model: Any = wrapped_model(cfg).model
    with _quiet():
        model.init_weights()
    return model


def wrapped_model(cfg: Config) -> QuantModel:
    """Build a wrapped ``cfg.model``, with weights as its modules are made with."""
    init_default_scope(cfg.get("default_scope") or "mmdet")
    # A copy: heads of the DETR family write into the config that they are built from.
    model_cfg = copy.deepcopy(cfg.model)
    for entry in nested_dicts(model_cfg):
        _forget_weights(entry)
    return MODELS.build(model_cfg)


def _forget_weights(entry: dict[str, Any]) -> None:
    init = entry.get("init_cfg")
    if isinstance(init, dict) and type_name(init) == "Pretrained":
        entry["init_cfg"] = None
    elif isinstance(init, list | tuple):
        entry["init_cfg"] = [one for one in init if type_name(one) != "Pretrained"]
    if entry.get("pretrained"):
        entry["pretrained"] = False if entry["pretrained"] is True else None


@contextmanager
def _quiet() -> Iterator[None]:
    """MMEngine logs how each parameter has been initialised."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
