"""One function from a float model to a quantized one."""

import copy
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from mmptq.apis.given import Evaluate, Given, GivenImages, GivenRunner
from mmptq.apis.result import QuantResult
from mmptq.apis.state import restored_state
from mmptq.errors import ConfigError
from mmptq.runner import CalibrationRunner
from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import complete_recipe, set_data_root
from mmptq.runner.settings import CalibrationSettings

PathLike = str | os.PathLike[str]


def quantize(
    config_or_model: PathLike | Config | nn.Module,
    checkpoint: PathLike | None = None,
    data: PathLike | Iterable[Any] | None = None,
    qconfig: PathLike | Mapping[str, Any] | None = None,
    recipe: PathLike | Mapping[str, Any] | None = None,
    *,
    evaluate: Evaluate | None = None,
    work_dir: PathLike | None = None,
) -> QuantResult:
    """Quantize a model after training, and measure it before and after.

    The process is left as it was: default scope, loggers, visualizers, random numbers, torch's
    switches. A built model is copied. A progress bar is shown in a terminal and in a notebook.

    Args:
        config_or_model: A config of MMDetection or mmptq (file, ``mmptq::...``, ``mmdet::...``, or
            a ``Config``); or a built model: a detector of MMDetection, or any module from images
            ``(N, C, H, W)`` to logits ``(N, classes)``.
        checkpoint: Float weights for a config, file or URL (default: its ``load_from``).
        data: For a config, what replaces its ``data_root``. For a built model, a data loader of
            the images to calibrate on, preprocessed as the model reads them: of ``(images,
            labels)`` or ``images``, or of MMEngine's dicts, which a detector needs.
        qconfig: What is quantized: the dict, or a config file with one. A built model needs it.
        recipe: ``calib_cfg`` in the same forms (default: the config's; else GPTQ). Keys that it
            lacks are as by default.
        evaluate: For a built model: from the model to named numbers, such as ``{"top1": 76.1}``.
            Without it nothing is measured. A config has its ``test_evaluator``.
        work_dir: Where checkpoint, results, stages and the report go (default: nothing is kept on
            disk).

    Returns:
        The quantized model, the results as a table, ``save`` and ``export``.

    Raises:
        MmptqError: The input cannot work; names the argument or key, its value, and the fix.

    Example:
        >>> found = quantize("mmptq::demo/retinanet_w8a8_mmse.py")
        >>> print(found.table)
        >>> found.export("retinanet.onnx", target="openvino")
    """
    built = isinstance(config_or_model, nn.Module)
    with ExitStack() as stack:
        stack.enter_context(restored_state())
        cfg = Config() if built else _read(config_or_model)
        _merge(cfg, "qconfig", qconfig, "qconfig")
        _merge(cfg, "calib_cfg", recipe, "recipe")
        folder = work_dir or stack.enter_context(tempfile.TemporaryDirectory(prefix="mmptq-"))
        _place(cfg, Path(folder), keep=work_dir is not None)
        if built:
            runner = _given_runner(cfg, config_or_model, checkpoint, data, evaluate)
        else:
            runner = _config_runner(cfg, checkpoint, data, evaluate)
        results = runner.calibrate()
        runner.model.eval()
        return QuantResult(runner.model, results, runner)


def _read(config: Any) -> Config:
    if isinstance(config, Config):
        return copy.deepcopy(config)
    if isinstance(config, str | os.PathLike):
        return read_config(os.fspath(config))
    raise ConfigError(
        f"config_or_model: is a {type(config).__name__}; it must be a config (a path, "
        "'mmptq::...', a Config) or a torch.nn.Module"
    )


def _merge(cfg: Config, key: str, value: Any, argument: str) -> None:
    """Set ``cfg[key]`` by a dict, or by the file that has one."""
    if value is None:
        return
    if isinstance(value, str | os.PathLike):
        found = read_config(os.fspath(value))
        if found.get(key) is None:
            raise ConfigError(f"{argument} = {os.fspath(value)!r}: the file has no {key}")
        cfg.merge_from_dict({key: found[key].to_dict()})
    elif isinstance(value, Mapping):
        cfg[key] = copy.deepcopy(dict(value))
    else:
        raise ConfigError(f"{argument} = {value!r}: must be a dict or a config file")


def _place(cfg: Config, folder: Path, keep: bool) -> None:
    """Set where a run writes, and which of its hooks do."""
    cfg.work_dir, cfg.launcher = str(folder), "none"
    # MMEngine keeps what it makes by this name; the caller may have a run of the same one.
    cfg.experiment_name = f"mmptq_{time.time_ns()}"
    if cfg.get("visualizer"):
        cfg.visualizer.name = cfg.experiment_name
    if not keep:
        writing = dict.fromkeys(("logging", "pictures", "save", "report"))
        cfg.calib_hooks = {**(cfg.get("calib_hooks") or {}), **writing}


def _config_runner(cfg: Config, checkpoint: Any, data: Any, evaluate: Any) -> CalibrationRunner:
    if evaluate is not None:
        raise ConfigError("evaluate: a config is measured by its test_evaluator; leave it out")
    if data is not None:
        if not isinstance(data, str | os.PathLike):
            raise ConfigError(
                f"data: is a {type(data).__name__}; for a config it is the folder that replaces "
                "data_root. A data loader belongs to a built model"
            )
        set_data_root(cfg, os.fspath(data))
    if checkpoint is not None:
        cfg.load_from = os.fspath(checkpoint)
    return CalibrationRunner.from_cfg(cfg)


def _given_runner(
    cfg: Config, model: Any, checkpoint: Any, data: Any, evaluate: Evaluate | None
) -> CalibrationRunner:
    if checkpoint is not None:
        raise ConfigError("checkpoint: a built model has its weights; load them before")
    if cfg.get("qconfig") is None:
        raise ConfigError("qconfig: is missing; for example 'mmptq::_base_/quant/w8a8.py'")
    if data is None or isinstance(data, str | os.PathLike) or not isinstance(data, Iterable):
        raise ConfigError(f"data = {data!r}: a built model needs a data loader")
    complete_recipe(cfg)
    settings = CalibrationSettings.parse(cfg.calib_cfg)
    images = GivenImages(data, settings.num_images + settings.images_to_judge)
    given = Given(model, images, evaluate)
    # What the runner asks a config for, where the given model and images take its place.
    unused = {"type": "Given"}
    cfg.model = {"type": "mmptq.QuantDetector", "detector_type": type(model).__name__}
    cfg.default_scope = "mmdet"
    cfg.calib_dataloader = {"dataset": unused}
    # How pixels became these images is not known, and an exported file must not say otherwise.
    cfg.test_dataloader = {
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": {**unused, "pipeline": [unused]},
    }
    cfg.test_evaluator = unused
    return GivenRunner.of(given).from_cfg(cfg)
