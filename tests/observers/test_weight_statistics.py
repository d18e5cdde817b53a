import numpy as np
import pytest
import torch

from mmptq.errors import CalibrationDataError, NumericalError
from mmptq.observers import WeightStatistics
from mmptq.ops import QuantScheme, fake_quantize, range_to_params


@pytest.fixture
def weight():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 5, 3, 3, generator=generator) * torch.rand(
        6, 1, 1, 1, generator=generator
    )


def rows_of(weight, ch_axis):
    array = weight.double().numpy()
    return (
        array.reshape(1, -1)
        if ch_axis is None
        else np.moveaxis(array, ch_axis, 0).reshape(weight.shape[ch_axis], -1)
    )


@pytest.mark.parametrize("ch_axis", [None, 0, 1])
def test_against_numpy(weight, ch_axis):
    stats, rows = WeightStatistics(weight, ch_axis), rows_of(weight, ch_axis)
    shape = () if ch_axis is None else (weight.shape[ch_axis],)
    deviation = np.abs(rows - rows.mean(1, keepdims=True)).mean(1)
    for ours, expected in [
        (stats.low, rows.min(1)),
        (stats.high, rows.max(1)),
        (stats.mean(), rows.mean(1)),
        (stats.std(), rows.std(1)),
        (stats.abs_moment(1.0, stats.mean()), deviation),
        (stats.quantile(0.37), np.quantile(rows, 0.37, axis=1)),
        (stats.quantile(0.0), rows.min(1)),
        (stats.quantile(1.0), rows.max(1)),
    ]:
        assert ours.shape == shape
        np.testing.assert_allclose(ours.reshape(-1), expected, rtol=1e-5, atol=1e-7)
    lows, highs = stats.image_ranges()
    assert lows.shape == highs.shape == (1, *shape)


@pytest.mark.parametrize("ch_axis", [None, 0, 1])
@pytest.mark.parametrize("bits", [1, 2, 3.3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("chunk", [1 << 18, 100])
def test_lp_error_is_the_real_quantizers(weight, ch_axis, bits, symmetric, chunk, monkeypatch):
    monkeypatch.setattr("mmptq.observers.weight_statistics._CHUNK", chunk)
    stats = WeightStatistics(weight, ch_axis)
    scheme = QuantScheme(bits, symmetric=symmetric, signed=symmetric)
    shares = torch.tensor([1.0, 0.7, 0.2]).reshape(-1, *[1] * stats.low.dim())
    for p in (0.5, 2.0, 3.5):
        ours = stats.lp_error(stats.low * shares, stats.high * shares, scheme, p)
        for i, share in enumerate((1.0, 0.7, 0.2)):
            scale, zero = range_to_params(stats.low * share, stats.high * share, scheme)
            quantized = fake_quantize(weight, scale, zero, *scheme.bounds, ch_axis=ch_axis)
            expected = (np.abs(rows_of(quantized - weight, ch_axis)) ** p).mean(1)
            np.testing.assert_allclose(ours[i].reshape(-1), expected, rtol=1e-4)


def test_zeros_are_left_out_where_asked():
    stats = WeightStatistics(torch.tensor([[0.0, 2.0, -2.0], [0.0, 0.0, 0.0]]), 0)
    assert stats.abs_moment(1.0, skip_zeros=True).tolist() == [2.0, 0.0]
    counts = stats.histogram(4, torch.tensor([2.0, 1.0]))
    assert counts.tolist() == [[1.0, 0.0, 0.0, 1.0], [0.0] * 4]


def test_a_linear_layers_bias_like_vector():
    assert WeightStatistics(torch.tensor([1.0, -3.0]), 0).low.tolist() == [1.0, -3.0]


def test_bad_weights():
    with pytest.raises(NumericalError, match="1 NaN and 2 Inf among 4 weights"):
        WeightStatistics(torch.tensor([float("nan"), float("inf"), float("-inf"), 0.0]), None)
    with pytest.raises(CalibrationDataError, match="empty"):
        WeightStatistics(torch.empty(0, 3), None)
