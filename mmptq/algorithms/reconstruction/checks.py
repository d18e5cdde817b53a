"""Checks and switches around a reconstruction."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_world_size

from mmptq.engine.context import CalibrationContext
from mmptq.engine.units.unit_data import CacheSettings
from mmptq.errors import ConfigError
from mmptq.models import QuantModel


@contextmanager
def reconstructing(model: QuantModel, activations: bool) -> Iterator[None]:
    """Parameters are frozen, and quantizers on as asked, in this context."""
    wanted = {param: param.requires_grad for param in model.parameters()}
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    switches = {quantizer: quantizer.enabled for quantizer in quantizers}
    for param in wanted:
        param.requires_grad_(False)
    if not activations:
        for quantizer in model.sites.values():
            quantizer.enabled = False
    try:
        yield
    finally:
        for param, requires_grad in wanted.items():
            param.requires_grad_(requires_grad)
        for quantizer, enabled in switches.items():
            quantizer.enabled = enabled


def check_ranges(model: QuantModel, step: str) -> None:
    """Make sure that every quantizer has a range.

    Raises:
        ConfigError: One has none.
    """
    quantizers = {**model.weight_quantizers(), **model.sites}
    missing = [name for name, quantizer in quantizers.items() if not quantizer.calibrated]
    if missing:
        raise ConfigError(
            f"{step} starts from ranges, but {len(missing)} quantizers have none, first that of "
            f"{missing[0]}; put RangeCalibration before it in calib_cfg.steps"
        )


def check_images(context: CalibrationContext) -> None:
    """Make sure that each process has images.

    Raises:
        ConfigError: This one has none.
    """
    if len(context.data) == 0:
        raise ConfigError(
            f"calib_cfg.num_images is less than the {get_world_size()} processes; reconstruction "
            "needs an image for each"
        )


def parse_cache(cfg: Mapping[str, Any]) -> CacheSettings:
    """Read and check ``cache``.

    Raises:
        ConfigError: Naming the key, the value and what would be right.
    """
    known = [f.name for f in dataclasses.fields(CacheSettings)]
    for key in cfg:
        if key not in known:
            raise ConfigError(f"cache.{key}: unknown key; known are {', '.join(known)}")
    cache = CacheSettings(**cfg)
    if not cache.max_gb > 0:
        raise ConfigError(f"cache.max_gb = {cache.max_gb!r}: must be more than 0")
    if cache.dtype not in ("float32", "float16"):
        raise ConfigError(f"cache.dtype = {cache.dtype!r}: must be 'float32' or 'float16'")
    return cache
