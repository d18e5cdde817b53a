"""MMEngine's Runner for models that are measured, not trained."""

import copy
import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.registry import VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer
from torch import nn

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.registry import find_class, type_name
from mmptq.runner.checks import annotation_at_fault
from mmptq.runner.prepare_config import name_types

R = TypeVar("R", bound="MeasuringRunner")

# What the runner is built from; everything else in a config is about training, or not MMEngine's.
_KEYS = (
    "data_preprocessor",
    "test_dataloader",
    "test_evaluator",
    "load_from",
    "log_processor",
    "visualizer",
    "experiment_name",
)
# Of these, MMEngine has a default that None would override.
_KEYS_WITH_DEFAULT = ("launcher", "env_cfg", "log_level", "randomness")

# Of MMEngine's default hooks, those without which a test logs nothing.
_TEST_HOOKS = ("runtime_info", "timer", "logger")
_TRAINING_HOOKS = ("sampler_seed", "param_scheduler", "checkpoint")

_TRAINING_KEYS = (
    "train_dataloader",
    "train_cfg",
    "optim_wrapper",
    "param_scheduler",
    "val_dataloader",
    "val_cfg",
    "val_evaluator",
    "custom_hooks",
)

# They write into the work dir. All others open a run on somebody's server.
_LOCAL_BACKENDS = (LocalVisBackend, TensorboardVisBackend)


class MeasuringRunner(Runner):
    """A Runner built from what a test needs, whatever the config says about training.

    Its loops, hooks, optimizer and data take no part and need not be there. The config itself stays
    whole: it is dumped, and MMDetection's own tools open it.
    """

    # MMEngine keeps the config of each in the attribute where it keeps what is built of it.
    _test_dataloader: Any
    _test_evaluator: Any
    _test_loop: Any

    @classmethod
    def from_cfg(cls: type[R], cfg: Config) -> R:
        """Build from an MMEngine config.

        Raises:
            ConfigError: The config cannot work; names the key, the value and the fix.
        """
        cfg = copy.deepcopy(cfg)
        name_types(cfg)
        # MMEngine's own `resume` is about training, and would stand in the config that is dumped.
        cfg.resume = False
        parts = copy.deepcopy(cfg)
        arguments = {key: parts.get(key) for key in _KEYS}
        given = [key for key in _KEYS_WITH_DEFAULT if parts.get(key) is not None]
        arguments |= {key: parts[key] for key in given}
        try:
            runner = cls(
                model=parts["model"],
                work_dir=parts["work_dir"],
                # MMEngine takes no loop as "no test" unless everything of the test is absent.
                test_cfg=parts.get("test_cfg") or {"type": "TestLoop"},
                default_hooks=_test_hooks(parts.get("default_hooks") or {}),
                # None, as in pure-Python configs, means that types have no scope.
                default_scope=parts.get("default_scope", "mmengine"),
                cfg=cfg,
                **arguments,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"cannot build the runner from the config: {error}") from error
        left_out = training_parts(cfg)
        if left_out:
            runner.logger.info(f"nothing is trained; not used: {', '.join(left_out)}")
        return runner

    @property
    def val_loop(self) -> Any:
        """The test's: a config may test by ``ValLoop``, and then hooks ask for this one."""
        return self.test_loop

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """Build from a copy: heads of the DETR family write into the config they are built from."""
        return super().build_model(copy.deepcopy(model))

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Keep the model bare: DDP synchronises gradients, and wants a GPU."""
        return model.to(get_device())

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """The visualizer, without backends that send a training project something, or cannot start.

        ``keep_trackers = True`` in the config keeps the trackers.
        """
        if isinstance(visualizer, Mapping) and not self.cfg.get("keep_trackers"):
            visualizer = dict(visualizer)
            backends = _as_list(visualizer.get("vis_backends"))
            visualizer["vis_backends"] = [b for b in backends if _is_local(b)]
            trackers = [type_name(b) for b in backends if not _is_local(b)]
            if trackers:
                self.logger.info(
                    f"visualizer.vis_backends: {', '.join(trackers)} left out, which would open a "
                    "run in your tracking project; keep_trackers = True in the config keeps it"
                )
        built = super().build_visualizer(visualizer)
        for name, backend in list(built._vis_backends.items()):
            try:
                _ = backend.experiment  # a backend starts, and imports its package, at first use
            except Exception as error:  # noqa: BLE001  whatever it is, it is only a log
                del built._vis_backends[name]
                self.logger.log(
                    logging.WARNING,
                    f"visualizer.vis_backends: {type(backend).__name__} cannot start and is left "
                    f"out: {str(error).strip() or type(error).__name__}",
                )
        return built

    def build_test(self, test_set: BaseDataset) -> None:
        """Build evaluator, data loader and loop of the test, which serve every evaluation.

        Raises:
            ConfigError: One cannot be built; names the keys, their values and the fix.
        """
        loader_cfg, loop_cfg = self._test_dataloader, self._test_loop
        fix = "correct it in the config, or by --cfg-options test_dataloader.KEY=VALUE"
        with _refusing(self._test_evaluator, "test_evaluator", "see its arguments"):
            self._test_evaluator = self.build_evaluator(self._test_evaluator)
        with _refusing(loader_cfg, "test_dataloader", fix):
            loader = self.build_dataloader({**loader_cfg, "dataset": test_set}, seed=self.seed)
        self._test_dataloader = loader
        with _refusing(loop_cfg, "test_cfg", "without test_cfg it is MMEngine's TestLoop"):
            self._test_loop = self.build_test_loop(loop_cfg)


@contextmanager
def _refusing(cfg: Any, key: str, fix: str) -> Iterator[None]:
    """Say of which entries of ``cfg`` an error is that arises while something is built of them."""
    try:
        yield
    except Exception as error:  # a user's own class may raise anything
        reason = annotation_at_fault(error) or f"{error}; {fix}"
        raise ConfigError(
            f"{settings_named_by(error, cfg, key)}: cannot build {key}: {reason}"
        ) from error


@contextmanager
def undecodable_named() -> Iterator[None]:
    """Turn mmcv's error about an image that it cannot decode into one of the input.

    Raises:
        CalibrationDataError: A test image cannot be decoded.
    """
    try:
        yield
    except AssertionError as error:  # mmcv's; a worker process hands it on with its traceback
        reason = str(error).splitlines()[-1]
        if "failed to load image" not in reason:
            raise
        raise CalibrationDataError(
            f"evaluation on test_dataloader: {reason}; replace or remove the file, then go on "
            "with --resume"
        ) from error


def training_parts(cfg: Config) -> list[str]:
    """The keys of ``cfg`` that a measurement does not use; hooks with their types."""
    found = []
    for key in _TRAINING_KEYS:
        if cfg.get(key):
            hooks = [type_name(hook) for hook in cfg[key]] if key == "custom_hooks" else []
            found.append(f"{key} ({', '.join(hooks)})" if hooks else key)
    hooks = [name for name in cfg.get("default_hooks") or {} if name not in _TEST_HOOKS]
    return found + ([f"default_hooks ({', '.join(hooks)})"] if hooks else [])


def settings_named_by(error: Exception, cfg: Any, key: str) -> str:
    """The entries of ``cfg`` that an error's message is about, as ``key.name = value, ...``.

    It is about an entry if it names it, or names its type; where it is about none, all are given.
    """
    if not isinstance(cfg, Mapping):
        return f"{key} = {cfg!r}"
    if not cfg:
        return key
    text = str(error)
    names = [n for n, value in cfg.items() if n in text or (type_name(value) or n) in text]
    plain_values = {n: v for n, v in cfg.items() if n in (names or cfg) and n != "dataset"}
    return ", ".join(f"{key}.{name} = {value!r}" for name, value in plain_values.items()) or key


def _test_hooks(default_hooks: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: default_hooks[name] for name in _TEST_HOOKS if name in default_hooks}
    return {**kept, **dict.fromkeys(_TRAINING_HOOKS)}


def _is_local(backend: Any) -> bool:
    cls = (
        find_class(VISBACKENDS, backend["type"]) if isinstance(backend, Mapping) else type(backend)
    )
    return inspect.isclass(cls) and issubclass(cls, _LOCAL_BACKENDS)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
