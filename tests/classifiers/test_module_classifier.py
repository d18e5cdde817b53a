import pytest
import torch
from torch import nn

from mmptq.classifiers import ModuleClassifier
from mmptq.errors import ConfigError

HERE = __name__


def make_net(width: int = 4, classes: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )


def make_nothing() -> None:
    return None


def test_a_plain_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("sys").modules,
        "my_nets",
        __import__("types").SimpleNamespace(make_net=make_net, make_nothing=make_nothing),
    )
    model = ModuleClassifier("my_nets:make_net", image_size=8, width=6)
    net = make_net(width=6)
    model.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(model(x), net(x))
    model.load_state_dict(model.state_dict())  # its own names, too
    assert torch.equal(model(x), net(x))
    assert model.image_size == 8
    with pytest.raises(ConfigError, match="depth.*all other keys of model go to it"):
        ModuleClassifier("my_nets:make_net", depth=3)
    with pytest.raises(ConfigError, match="returns a NoneType, not a torch.nn.Module"):
        ModuleClassifier("my_nets:make_nothing")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no_such_package:make", "No module named 'no_such_package'.*PYTHONPATH"),
        ("torch.nn:NoSuchNet", "NoSuchNet"),
        ("torch.nn.Linear", "must be 'package.path:factory'"),
        (3, "must be 'package.path:factory'"),
    ],
)
def test_paths_that_lead_nowhere(path: object, words: str) -> None:
    with pytest.raises(ConfigError, match=f"model.module = .*{words}"):
        ModuleClassifier(path)  # type: ignore[arg-type]
