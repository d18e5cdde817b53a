"""Command-line options that the tools share, and what they mean for a config."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from torch import distributed as dist

from mmptq.errors import ConfigError
from mmptq.runner.prepare_config import set_data_root


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
        action=DictAction,
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
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or default_work_dir(args.config)
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
    return str(Path("work_dirs") / f"{family}{path.stem}")


def read_config(path: str) -> Config:
    """Parse a config file.

    Raises:
        ConfigError: It does not exist, or does not parse.
    """
    if not Path(path).is_file():
        raise ConfigError(f"there is no config file {path}")
    try:
        return Config.fromfile(path)
    except Exception as error:
        raise ConfigError(f"cannot parse the config {path}: {error}") from error


def init_processes(launcher: str) -> None:
    """Join the process group where MMEngine cannot: it assumes a GPU for torch's launcher."""
    if launcher == "pytorch" and not torch.cuda.is_available():
        dist.init_process_group(backend="gloo")
