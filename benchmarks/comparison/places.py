"""Where the models' data and weights lie, and their configs on them."""

from collections.abc import Mapping
from pathlib import Path

from arguments import ROOT
from mmengine.config import Config

from comparison.models import MODELS
from mmptq.errors import ConfigError
from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import set_data_root


class Places:
    """Where sets and weights lie on this machine.

    Args:
        data: Folder of all sets, each under its name.
        roots: Folders of single sets, in place of those.
        checkpoints: Float weights of single models, in place of those that ``Model`` names.
    """

    def __init__(
        self,
        data: Path,
        roots: Mapping[str, str] | None = None,
        checkpoints: Mapping[str, str] | None = None,
    ) -> None:
        self._data = data
        self._roots, self._checkpoints = dict(roots or {}), dict(checkpoints or {})

    def root(self, name: str) -> Path:
        """Folder of a set, whether it is there or not."""
        return Path(self._roots.get(name, self._data / name))

    def checkpoint(self, model: str) -> Path:
        """Float weights of a model.

        Raises:
            ConfigError: They are nowhere; says which option gives them.
        """
        if model in self._checkpoints:
            candidates = [Path(self._checkpoints[model])]
        else:
            names = MODELS[model].checkpoints
            candidates = [folder / name for name in names for folder in (ROOT, self._data)]
        for path in candidates:
            if path.is_file():
                return path
        looked = ", ".join(map(str, candidates))
        raise ConfigError(
            f"{model}: no float weights in {looked}: give them by --checkpoint {model}=FILE"
        )

    def check(self, model: str) -> None:
        """Make sure that a model, its weights and its data are there.

        Raises:
            ConfigError: Something is not; says which option gives it.
        """
        entry = MODELS[model]
        if "::" not in entry.config and not (ROOT / entry.config).is_file():
            raise ConfigError(f"{model}: this repository has no {entry.config}")
        for name in entry.sets:
            if not self.root(name).is_dir():
                raise ConfigError(
                    f"{model} needs the set {name}, and there is no folder {self.root(name)}: give "
                    f"it by --data-root {name}=DIR, or the folder of all sets by --data DIR"
                )
        self.checkpoint(model)


def read_model_config(model: str, places: Places, work_dir: Path | str) -> Config:
    """The model's config on its data, silent, for a run in ``work_dir``; its recipe is any."""
    entry = MODELS[model]
    cfg = read_config(entry.config if "::" in entry.config else str(ROOT / entry.config))
    if entry.data is not None:
        set_data_root(cfg, str(places.root(entry.data)))
    if entry.test is not None:
        _set_test_root(cfg, places.root(entry.test))
    cfg.calib_hooks = dict.fromkeys(("pictures", "save", "logging", "progress", "report"))
    cfg.load_from = str(places.checkpoint(model))
    cfg.work_dir, cfg.launcher, cfg.log_level = str(work_dir), "none", "WARNING"
    # MMEngine keeps loggers and visualizers by name for the whole process.
    cfg.experiment_name = Path(work_dir).name
    cfg.visualizer = {**cfg.get("visualizer", {}), "name": cfg.experiment_name}
    return cfg


def _set_test_root(cfg: Config, root: Path) -> None:
    """Read the test images below ``root``."""
    cfg.test_dataloader.dataset.data_root = str(root)
    cfg.test_evaluator.ann_file = str(root / cfg.test_dataloader.dataset.ann_file)
