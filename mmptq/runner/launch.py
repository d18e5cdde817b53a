"""Command-line options that the tools share, and what they mean for a config."""

import argparse
import atexit
import difflib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from torch import distributed as dist

from mmptq.errors import ConfigError
from mmptq.runner.prepare_config import name_types, set_data_root


class _Options(DictAction):
    """MMEngine's ``KEY=VALUE``, whose parser never ends where a value is none of its forms.

    Raises:
        ConfigError: A value is, as ``dict(a=1, b=2)``.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, *args: Any) -> None:
        try:
            super().__call__(parser, namespace, values, *args)
        except RecursionError as error:
            raise ConfigError(
                f"--cfg-options {' '.join(values)}: a value with commas in brackets must be a list "
                "[...] or a tuple (...); give the keys of a dict one by one, as in "
                "qconfig.target.type=onnxruntime qconfig.target.reduce_range=True"
            ) from error


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every tool that runs a config."""
    parser.add_argument(
        "--work-dir", help="where results go (default: work_dirs/<family>_<config>)"
    )
    parser.add_argument("--data-root", help="replaces data_root in all datasets and evaluators")
    parser.add_argument(
        "--checkpoint-key",
        metavar="KEY",
        help="where in the checkpoint the weights are, such as state_dict.teacher, if several sets "
        "of them fit the model (default: the config's checkpoint_key)",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=_Options,
        metavar="KEY=VALUE",
        help="changes of the config, e.g. qconfig.weight.num_bits=6 calib_cfg.num_images=64",
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="job launcher; with torchrun it is 'pytorch'",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace, *extra: str | None) -> Config:
    """The config of ``args``, with the files ``extra``, then the command line, on top.

    Raises:
        ConfigError: A file does not exist or is no config.
    """
    cfg = read_config(args.config)
    for path in extra:
        if path is not None:
            cfg.merge_from_dict(read_config(path)._cfg_dict.to_dict())
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if args.cfg_options:
        _merge_options(cfg, args.cfg_options)
    if args.checkpoint_key:
        cfg.checkpoint_key = args.checkpoint_key
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or default_work_dir(str(cfg.filename))
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return cfg


def _merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        given = " ".join(f"{key}={value}" for key, value in options.items())
        raise ConfigError(f"--cfg-options {given}: does not fit the config: {error}") from error


def default_work_dir(config: str) -> str:
    """``work_dirs/<name>``; for ``configs/retinanet/r50.py`` the name is ``retinanet_r50``."""
    path = Path(config).resolve()
    family = f"{path.parent.name}_" if path.parent.parent.name == "configs" else ""
    name = path.stem if path.stem.startswith(family) else f"{family}{path.stem}"
    return str(Path("work_dirs") / name)


def read_config(path: str) -> Config:
    """Parse a config file, one that comes with a package (``mmdet::...``) or one of the user's.

    Raises:
        ConfigError: It does not exist, or does not parse.
    """
    file = packaged_config(path) if "::" in path else Path(path)
    if not file.is_file():
        raise ConfigError(f"there is no config file {path}")
    try:
        cfg = Config.fromfile(file)
        name_types(cfg)
    except Exception as error:
        raise ConfigError(f"cannot parse the config {path}: {error}") from error
    return cfg


def packaged_config(name: str) -> Path:
    """File of ``package::family/config.py``, which holds for every package with configs.

    MMEngine's own search wants a plain word as the family: it takes no ``gn+ws/...``.

    Raises:
        ConfigError: There is no such package, or it has no such config.
    """
    package, _, config = name.partition("::")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"{name}: no package {package!r} is installed")
    root = Path(spec.submodule_search_locations[0])
    # As installed, as in a checkout, and the pure-Python ones.
    folders = [root / ".mim" / "configs", root.parent / "configs", root / "configs"]
    file = config if config.endswith(".py") else f"{config}.py"
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    known = {p.relative_to(f).as_posix() for f in folders for p in f.rglob("*.py")}
    close = difflib.get_close_matches(file, known, n=1)
    hint = f"; did you mean {package}::{close[0]}?" if close else ""
    raise ConfigError(f"there is no config file {name}{hint}")


def init_processes(launcher: str) -> None:
    """Join the process group where MMEngine cannot: it assumes a GPU for torch's launcher.

    Raises:
        ConfigError: A launcher that needs a GPU, where there is none.
    """
    if launcher in ("slurm", "mpi") and get_device() == "cpu":
        raise ConfigError(
            f"--launcher {launcher}: MMEngine's needs a GPU, and there is none; let {launcher} "
            "start one torchrun a node, with --launcher pytorch (docs/howto/scale_out.md)"
        )
    if launcher == "pytorch" and not torch.cuda.is_available():
        dist.init_process_group(backend="gloo")
        # gloo's threads, still there when the interpreter goes, now and then abort the process.
        atexit.register(dist.destroy_process_group)
