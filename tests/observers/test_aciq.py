import math

import pytest
import torch
from scipy import integrate, optimize
from scipy import stats as distributions

from mmptq.errors import ConfigError
from mmptq.observers import ACIQObserver, TensorStatistics, WeightStatistics
from mmptq.observers.aciq import gauss_clip, laplace_clip
from mmptq.ops import QuantScheme

SIGNED = QuantScheme(4, symmetric=True, signed=True)
AFFINE = QuantScheme(4, symmetric=False, signed=False)
UNSIGNED = QuantScheme(4, symmetric=True, signed=False)


def observe(x):
    stats = TensorStatistics()
    stats.update(x, image=0)
    return stats


def sample(name, count=400_000):
    generator = torch.Generator().manual_seed(0)
    if name == "gauss":
        return torch.randn(count, generator=generator)
    uniform = torch.rand(count, generator=generator).double() - 0.5
    return (-uniform.sign() * torch.log1p(-2 * uniform.abs().clamp(max=0.4999999))).float()


def test_published_values():
    # Banner et al. 2019, table of optimal clips for a scale of 1.
    assert [laplace_clip(b) for b in (2, 3, 4)] == pytest.approx([2.83, 3.89, 5.03], abs=0.01)
    assert [gauss_clip(b) for b in (2, 3, 4)] == pytest.approx([1.71, 2.15, 2.55], abs=0.01)
    # And their values for tensors after ReLU, which is one bit more.
    assert [laplace_clip(b + 1) for b in (2, 3, 4)] == pytest.approx([3.89, 5.03, 6.20], abs=0.01)


@pytest.mark.parametrize("bits", [1.0, 2.0, 2.7, 4.0, 5.5, 8.0])
@pytest.mark.parametrize(
    ("density", "clip"),
    [(distributions.norm, gauss_clip), (distributions.laplace, laplace_clip)],
    ids=["gauss", "laplace"],
)
def test_minimises_the_expected_error(density, clip, bits):
    def error(alpha):
        tail = integrate.quad(lambda x: density.pdf(x) * (x - alpha) ** 2, alpha, alpha + 40)[0]
        return 2 * tail + alpha**2 / (3 * 4**bits)

    found = optimize.minimize_scalar(
        error, bounds=(0.01, 25), method="bounded", options={"xatol": 1e-7}
    )
    assert clip(bits) == pytest.approx(found.x, rel=1e-3)


def test_scale_is_fitted():
    low, high = ACIQObserver("gauss").compute_range(observe(3 * sample("gauss")), SIGNED)
    assert float(high) == pytest.approx(3 * gauss_clip(4), rel=0.01)
    assert float(low) == pytest.approx(-3 * gauss_clip(4), rel=0.01)
    high = ACIQObserver("laplace").compute_range(observe(0.5 * sample("laplace")), SIGNED)[1]
    assert float(high) == pytest.approx(0.5 * laplace_clip(4), rel=0.01)


@pytest.mark.parametrize("name", ["gauss", "laplace"])
@pytest.mark.parametrize("scheme", [SIGNED, AFFINE], ids=str)
@pytest.mark.parametrize("relu", [False, True])
def test_auto_picks_the_density(name, scheme, relu):
    x = sample(name)
    stats = observe(x.relu() if relu else x)
    auto = ACIQObserver("auto").compute_range(stats, scheme)
    assert auto == ACIQObserver(name).compute_range(stats, scheme)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_auto_is_never_worse_than_no_clipping(bits):
    """A few values far out, which no fitted density expects, are kept where that costs less."""
    scheme = QuantScheme(bits, symmetric=True, signed=True)
    x = torch.cat([sample("gauss", 10_000), torch.linspace(20.0, 30.0, 30)])
    errors = {}
    for name in ("auto", "gauss", "laplace"):
        low, high = ACIQObserver(name).compute_range(observe(x), scheme)
        errors[name] = _squared_error(x, float(low), float(high), bits)
    errors["none"] = _squared_error(x, float(x.min()), float(x.max()), bits)
    assert errors["auto"] == pytest.approx(min(errors.values()), rel=1e-3)
    if bits == 8:
        assert errors["none"] < 0.1 * errors["gauss"]


def test_auto_decides_for_each_channel():
    gauss = sample("gauss", 20_000)
    spiked = torch.cat([gauss[:-20], torch.full((20,), 40.0)])
    scheme = QuantScheme(8, symmetric=True, signed=True)
    stats = WeightStatistics(torch.stack([gauss, spiked]), 0)
    high = ACIQObserver("auto").compute_range(stats, scheme)[1]
    assert float(high[1]) == 40.0
    assert float(high[0]) <= float(gauss.abs().max())


def _squared_error(x, low, high, bits):
    scale = max(-low, high) / (2 ** (bits - 1) - 1)
    bound = 2 ** (bits - 1)
    codes = torch.fake_quantize_per_tensor_affine(x, scale, 0, -bound, bound - 1)
    return float((codes - x).double().square().mean())


def test_affine_ranges_follow_the_mean():
    low, high = ACIQObserver("gauss").compute_range(observe(sample("gauss") + 2.0), AFFINE)
    assert float(high) == pytest.approx(2 + gauss_clip(4), rel=0.01)
    assert float(low) == pytest.approx(2 - gauss_clip(4), abs=0.03)


@pytest.mark.parametrize("scheme", [UNSIGNED, AFFINE], ids=str)
@pytest.mark.parametrize("zeros", [0, 1_000_000])
def test_after_relu(scheme, zeros):
    x = torch.cat([sample("gauss").abs(), torch.zeros(zeros)])
    low, high = ACIQObserver("gauss").compute_range(observe(x), scheme)
    assert float(low) == 0.0
    assert float(high) == pytest.approx(gauss_clip(5), rel=0.01)
    low, high = ACIQObserver("gauss").compute_range(observe(-x), AFFINE)
    assert (float(low), float(high)) == (pytest.approx(-gauss_clip(5), rel=0.01), 0.0)


def test_signed_codes_on_one_sided_values_use_half_of_the_codes():
    high = ACIQObserver("gauss").compute_range(observe(sample("gauss").abs()), SIGNED)[1]
    assert float(high) == pytest.approx(gauss_clip(4), rel=0.01)


def test_per_channel():
    x = torch.stack([sample("gauss", 50_000), 10 * sample("laplace", 50_000)])
    low, high = ACIQObserver().compute_range(WeightStatistics(x, 0), SIGNED)
    expected = torch.tensor([gauss_clip(4), 10 * laplace_clip(4)])
    assert torch.allclose(high, expected, rtol=0.02)
    assert torch.allclose(low, -expected, rtol=0.02)


@pytest.mark.parametrize("scheme", [SIGNED, AFFINE, UNSIGNED], ids=str)
@pytest.mark.parametrize("value", [0.0, 2.5, 1e-30, 1e30])
def test_constants_stay_inside_the_values(scheme, value):
    low, high = ACIQObserver().compute_range(observe(torch.full((9,), value)), scheme)
    assert (float(low), float(high)) == (0.0, pytest.approx(value, rel=1e-6))
    assert math.isfinite(high)


def test_bad_distribution():
    with pytest.raises(ConfigError, match="ACIQObserver.distribution.*auto, gauss.*'normal'"):
        ACIQObserver("normal")
