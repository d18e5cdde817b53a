"""benchmarks/given_config.py: a config on the data and weights of the command line."""

import argparse

import pytest

from mmptq.errors import ConfigError


@pytest.fixture
def read():
    from given_config import add_data_and_weights, given_config

    def read(*arguments):
        parser = argparse.ArgumentParser()
        parser.add_argument("config")
        add_data_and_weights(parser)
        return given_config(parser.parse_args([str(argument) for argument in arguments]))

    return read


def test_nothing_given_leaves_the_configs_own(read, tiny_project):
    project = tiny_project("retinanet")
    cfg = read(project.config)
    assert cfg.load_from == str(project.checkpoint)
    assert cfg.test_dataloader.dataset.data_root == f"{project.root}/"


def test_data_and_weights_are_replaced(read, tiny_project):
    project = tiny_project("retinanet")
    cfg = read(project.config, "--data-root", "/data/other", "--checkpoint", "w.pth")
    assert cfg.load_from == "w.pth"
    assert cfg.test_dataloader.dataset.data_root == "/data/other/"
    assert cfg.test_evaluator.ann_file == "/data/other/val.json"


def test_a_config_that_is_not_there_is_named(read):
    with pytest.raises(ConfigError, match=r"there is no config file none\.py"):
        read("none.py")
