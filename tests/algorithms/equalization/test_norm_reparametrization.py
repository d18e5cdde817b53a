"""Layer norms whose channels get one range: the same float model, less error."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mmptq.algorithms import NormReparametrization, RangeCalibration
from mmptq.algorithms.equalization.norm_reparametrization import _moves
from mmptq.engine import CalibrationContext, float_form
from mmptq.errors import ConfigError
from mmptq.ops import QuantScheme
from tests.calibration_support import MMSE, W4A4
from tests.transformer_support import MakeTransformer, make_model, make_transformer

__all__ = ["make_transformer"]


def images(context: CalibrationContext) -> Tensor:
    batches = [context.model.data_preprocessor(b, False)["inputs"] for _, b in context.data]
    return torch.cat(batches)


@torch.no_grad()
def float_outputs(context: CalibrationContext) -> Tensor:
    with float_form(context.model):
        return context.model(images(context))


@torch.no_grad()
def spread(context: CalibrationContext) -> None:
    """Channels of norms that differ by factors of up to 20, as those of trained models do."""
    generator = torch.Generator().manual_seed(4)
    for module in context.model.model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            factors = torch.exp(3.0 * torch.rand(module.weight.shape, generator=generator))
            module.weight.mul_(factors / 4)
            module.bias.add_(torch.randn(module.bias.shape, generator=generator))


@pytest.mark.parametrize("name", ["vit", "swin", "pvt"])
@pytest.mark.parametrize("scope", ["full", "lapq_paper"])
def test_the_float_model_stays(name: str, scope: str, make_transformer: MakeTransformer) -> None:
    context = make_transformer(name, qconfig={**W4A4, "scope": scope})
    spread(context)
    before = float_outputs(context)
    weights = {k: v.clone() for k, v in context.model.state_dict().items() if "norm" in k}
    NormReparametrization().run(context)
    after = float_outputs(context)
    assert float((after - before).abs().max()) <= 1e-5 * float(before.abs().max())
    changed = [k for k, v in weights.items() if not torch.equal(context.model.state_dict()[k], v)]
    assert len(changed) == {"vit": 8, "swin": 18, "pvt": 2}[name]
    assert not any(q.calibrated for q in context.model.sites.values())


def read_by(context: CalibrationContext, layer: str) -> Tensor:
    seen: list[Tensor] = []
    module = context.model.model.get_submodule(layer)
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    float_outputs(context)
    handle.remove()
    return seen[0]


@torch.no_grad()
def input_error(context: CalibrationContext, name: str) -> float:
    """What quantizing the input of a layer adds to its output, as a share of that."""
    layer: Any = context.model.model.get_submodule(name)
    x = read_by(context, name).flatten(0, 1)
    difference = layer.reader(0)(x) - x
    return float((difference @ layer.weight.T).norm() / (x @ layer.weight.T).norm())


def test_channels_have_one_range_and_the_error_falls(make_transformer: MakeTransformer) -> None:
    names = ("blocks.0.attn.in_proj", "blocks.0.fc1", "blocks.1.fc1")
    errors = []
    step = NormReparametrization(act={"type": "MinMaxObserver"})
    for folder, steps in (("a", []), ("b", [step])):
        context = make_transformer("vit", folder=folder, images=8)
        spread(context)
        for step in steps:
            step.run(context)
            for name in names:
                x = read_by(context, name).flatten(0, 1)
                for ends in (x.amin(0), x.amax(0)):
                    mean = ends.mean().expand_as(ends)
                    torch.testing.assert_close(ends, mean, rtol=1e-3, atol=1e-3)
        context.collect_again("again")
        RangeCalibration(weight=MMSE, act=MMSE).run(context)
        errors.append([input_error(context, name) for name in names])
    assert all(after < 0.8 * before for before, after in zip(*errors, strict=True))


def test_it_reloads(make_transformer: MakeTransformer) -> None:
    context = make_transformer("vit")
    NormReparametrization().run(context)
    context.collect_again("again")
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    fresh = make_model("vit")
    fresh.load_state_dict(context.model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(images(context)), context.model(images(context)))


@pytest.mark.parametrize("symmetric", [True, False])
def test_moves(symmetric: bool) -> None:
    """Every channel's ends land on the same place, but for one that is constantly 0."""
    scheme = QuantScheme(4.0, symmetric, symmetric)
    low, high = torch.tensor([-1.0, -4.0, -0.2, 0.0]), torch.tensor([3.0, 1.0, 0.6, 0.0])
    factor, shift = _moves(low, high, scheme, not symmetric)
    ends = (torch.stack([low, high]).double() + shift) / factor
    if symmetric:
        largest = ends.abs().amax(0)[:3]
        assert not shift.any() and largest.tolist() == pytest.approx([float(largest[0])] * 3)
    else:
        for end in ends[:, :3]:
            assert end.tolist() == pytest.approx([float(end[0])] * 3)
    assert float(factor[3]) == 1.0
    factor, shift = _moves(torch.zeros(2), torch.zeros(2), scheme, True)
    assert factor.tolist() == [1, 1] and shift.tolist() == [0, 0]


def test_a_wrong_observer() -> None:
    wrong: dict[str, Any] = {"type": "NoSuchObserver"}
    with pytest.raises(ConfigError, match="NormReparametrization.act"):
        NormReparametrization(act=wrong)
