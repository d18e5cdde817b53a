"""The trace on small modules whose structure is known by construction."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.models import Trace, trace
from mmptq.modules import Operand
from tests.modules.test_norms import NormAct, NormGate


def conv(cin: int = 3, cout: int = 4) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1)


def run(model: nn.Module) -> Trace:
    layers = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return trace(model, layers, model, torch.randn(1, 3, 8, 8))


class Net(nn.Module):
    """conv, norm and ReLU (in place), a branch that shares its input, a predictor per branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = conv(), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.a, self.b = conv(4), conv(4)
        self.cls, self.reg = conv(4, 2), conv(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.relu(self.norm(self.stem(x)))
        return self.cls(self.a(x).relu_()).sigmoid(), [self.reg(self.b(x)).exp()]


def test_order_edges_and_norms() -> None:
    found = run(Net())
    assert list(found.calls) == ["stem", "a", "cls", "b", "reg"]
    assert found.first == {"stem"} and found.last == {"cls", "reg"}
    assert found.batch_norms == [("stem", "norm")]
    assert found.calls["a"] == found.calls["b"]
    assert len({found.calls[n][0] for n in ("stem", "a", "cls", "reg")}) == 4


@pytest.mark.parametrize("frozen", ["all", "some", "none"])
def test_frozen_parameters_hide_nothing(frozen: str) -> None:
    model = Net()
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(frozen == "none" or (frozen == "some" and i % 2 == 0))
    before = [p.requires_grad for p in model.parameters()]
    assert run(model) == run(Net())
    assert [p.requires_grad for p in model.parameters()] == before


def test_the_model_is_left_as_it_was() -> None:
    model = Net().train()
    model.norm.eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    run(model)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model.training and model.a.training and not model.norm.training
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_hooks_are_removed_after_an_error() -> None:
    model = Net()
    with pytest.raises(RuntimeError):
        trace(model, ["stem"], model, torch.randn(1, 5, 8, 8))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_in_place_change_makes_another_tensor() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.before, self.after = conv(), conv(4), conv(4)

        def forward(self, x: Tensor) -> list[Tensor]:
            x = self.stem(x)
            before = self.before(x.detach().clone())
            with torch.no_grad():
                shared = x.detach().clone()
            first = self.before(shared)
            shared.relu_()
            return [before, first, self.after(shared)]

    found = run(InPlace())
    assert len({found.calls["before"][1], found.calls["after"][0]}) == 2


def test_an_image_that_is_padded_or_scaled_is_still_the_image() -> None:
    class Padded(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
            return super().forward(F.pad(x * 2, (0, 1, 0, 1)))

    assert run(Padded()).first == {"stem"}


class Levels(nn.Module):
    """One convolution for three levels, with one norm per level or one for all."""

    def __init__(self, norms: int) -> None:
        super().__init__()
        self.stem, self.conv = conv(), conv(4)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4) for _ in range(norms)])

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [self.stem(x), self.stem(x[..., ::2])]
        return [self.norms[i % len(self.norms)](self.conv(x)) for i, x in enumerate(levels)]


def test_a_convolution_shared_by_levels() -> None:
    found = run(Levels(norms=1))
    assert len(set(found.calls["conv"])) == 2 and found.last == {"conv"}
    assert found.batch_norms == [("conv", "norms.0")]


def test_a_convolution_with_a_norm_per_level_is_not_folded() -> None:
    assert run(Levels(norms=2)).batch_norms == []


@pytest.mark.parametrize("use", ["output", "sum", "second_norm", "pool"])
def test_an_output_with_a_second_reader_is_not_folded(use: str) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.other = conv(), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> list[Tensor]:
            x = self.conv(x)
            y = self.norm(x)
            if use == "output":
                return [y, x]
            if use == "second_norm":
                return [y, self.other(x)]
            return [y + x] if use == "sum" else [y.relu(), F.max_pool2d(x, 2)]

    assert run(Twice()).batch_norms == []


def test_a_norm_that_reads_something_else_is_not_folded() -> None:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = conv(), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(x).relu())

    assert run(Between()).batch_norms == []


def test_a_norm_without_running_statistics_is_not_folded() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4, track_running_stats=False))
    assert run(model).batch_norms == []


@pytest.mark.parametrize(("norm", "known"), [(NormAct, True), (NormGate, False)])
def test_a_norm_that_computes_more_is_folded_if_that_stays(norm: Any, known: bool) -> None:
    model = nn.Sequential(conv(), norm(4), conv(4))
    assert run(model).batch_norms == ([("0", "1")] if known else [])


def test_linear_layers_and_a_flattened_tensor() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a, self.b = conv(), nn.Linear(256, 8), nn.Linear(256, 8)
            self.norm, self.out = nn.BatchNorm1d(8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.stem(x)
            return self.out(self.norm(self.a(x.flatten(1)))), self.b(x.flatten(1))

    found = run(Flat())
    assert found.calls["a"] == found.calls["b"]
    assert found.batch_norms == [("a", "norm")] and found.last == {"out", "b"}


def test_recomputed_blocks_are_seen() -> None:
    """Checkpointing (mmdet's ``with_cp``) engages, since the image asks for a gradient."""
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
            x = checkpoint(lambda x: self.norm(self.stem(x)), x, use_reentrant=False).relu()
            return self.cls(self.a(x).relu_()).sigmoid(), [self.reg(self.b(x)).exp()]

    found = run(Checkpointed())
    assert found.first == {"stem"} and found.last == {"cls", "reg"}
    assert found.batch_norms == [("stem", "norm")]


def test_an_operand_takes_no_norm_from_the_layer_that_wrote_it() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.operand, self.norm = conv(), Operand(), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.operand(self.conv(x))
            return y @ y.mT + self.norm(y).mean()

    model = Product()
    found = trace(model, ["conv", "operand"], model, torch.randn(1, 3, 8, 8))
    assert found.calls.keys() == {"conv", "operand"}
    assert found.calls["operand"] != found.calls["conv"]
    assert found.first == {"conv"} and found.last == {"operand"}
    assert found.batch_norms == []
