import torch
from torch import nn

from mmptq.modules.sharing import share


class Other(nn.Conv2d):
    pass


def test_everything_but_hooks_is_shared() -> None:
    conv = nn.Conv2d(3, 4, 3, stride=2).eval()
    conv.note = "kept"
    conv.register_buffer("table", torch.ones(2), persistent=False)
    conv.child = nn.ReLU()
    conv.register_forward_hook(lambda *_: torch.zeros(1))
    twin = share(Other, conv)
    assert type(twin) is Other and twin.weight is conv.weight and twin.bias is conv.bias
    assert twin.child is conv.child and twin.note == "kept" and twin.stride == (2, 2)
    assert not twin.training and set(twin.state_dict()) == set(conv.state_dict())
    assert twin(torch.ones(1, 3, 5, 5)).shape == (1, 4, 2, 2)


def test_later_changes_are_not_shared() -> None:
    conv = nn.Conv2d(3, 4, 3)
    twin = share(Other, conv)
    twin.weight = nn.Parameter(torch.zeros(4, 3, 3, 3))
    twin.register_buffer("table", torch.ones(2))
    twin.child = nn.ReLU()
    assert bool(conv.weight.any()) and not hasattr(conv, "table") and not hasattr(conv, "child")
