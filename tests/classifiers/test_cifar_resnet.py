import pytest
import torch

from mmptq.classifiers import CifarResNet
from mmptq.classifiers.cifar_resnet import CifarBlock
from mmptq.errors import ConfigError


# Published sizes of the networks: He et al. 2016, table 6 (in millions).
@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_published_sizes(depth: int, millions: float) -> None:
    count = sum(p.numel() for p in CifarResNet(depth).parameters())
    assert round(count / 1e6, 2 if millions < 1 else 1) == millions


def test_names_of_the_common_checkpoints() -> None:
    names = set(CifarResNet(20).state_dict())
    convs = {"conv1", *(f"layer{s}.{b}.conv{c}" for s in "123" for b in "012" for c in "12")}
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    norms = {f"{c.replace('conv', 'bn')}.{part}" for c in convs for part in parts}
    wanted = {f"{c}.weight" for c in convs} | norms | {"linear.weight", "linear.bias"}
    assert names == wanted


@torch.no_grad()
def test_shortcut_takes_every_second_pixel_between_channels_of_zeros() -> None:
    block = CifarBlock(2, 4, 2).eval()
    torch.nn.init.zeros_(block.conv2.weight)  # leaves the shortcut alone
    x = torch.rand(1, 2, 4, 6)
    y = block(x)
    assert y.shape == (1, 4, 2, 3)
    assert torch.equal(y[:, 1:3], x[:, :, [0, 2]][..., [0, 2, 4]])
    assert not y[:, [0, 3]].any()


@pytest.mark.parametrize("depth", [18, 2, 21, "20"])
def test_depths_that_do_not_exist(depth: object) -> None:
    with pytest.raises(ConfigError, match=r"model.depth = .*6 n \+ 2"):
        CifarResNet(depth)  # type: ignore[arg-type]
