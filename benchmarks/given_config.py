"""A config of the user's choice, on the data and with the weights that the command line gives."""

import argparse

from mmengine.config import Config

from mmptq.runner.launch import read_config
from mmptq.runner.prepare_config import set_data_root


def add_data_and_weights(parser: argparse.ArgumentParser) -> None:
    """What :func:`given_config` replaces."""
    parser.add_argument("--data-root", help="replaces the config's data_root")
    parser.add_argument("--checkpoint", help="float weights (default: the config's load_from)")


def given_config(args: argparse.Namespace) -> Config:
    """The config ``args.config``.

    Raises:
        ConfigError: There is no such config.
    """
    cfg = read_config(args.config)
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if args.checkpoint:
        cfg.load_from = args.checkpoint
    return cfg
