"""Quantized tables against torch's own fake quantization."""

import pytest
import torch
from torch import nn

from mmptq.modules import (
    EmbeddingTable,
    QuantEmbedding,
    in_channels,
    out_channels,
    quantized_class,
    to_quantized,
)
from mmptq.quantizers import UniformQuantizer

ROWS, COLUMNS = 6, 4
CODES = (-4, 3)  # of 3 bits
IDS = torch.tensor([[5, 0], [3, 3]])


@pytest.fixture
def table() -> EmbeddingTable:
    torch.manual_seed(0)
    return EmbeddingTable(ROWS, COLUMNS)


def quantized(table: EmbeddingTable, per_row: bool, bits: int = 3) -> QuantEmbedding:
    layer = to_quantized(table)
    axis = dict(ch_axis=layer.ch_axis, num_channels=ROWS) if per_row else {}
    quantizer = UniformQuantizer(bits, symmetric=True, **axis)
    high = 0.83 * table.weight.detach().abs()  # so that no weight is at an edge of rounding
    high = high.amax(dim=1) if per_row else high.max()
    quantizer.set_range(-high, high)
    quantizer.enabled = True
    layer.weight_quantizer = quantizer
    return layer


@torch.no_grad()
def test_per_row(table: EmbeddingTable) -> None:
    layer = quantized(table, per_row=True)
    scale = layer.weight_quantizer.scale
    assert scale.shape == (ROWS,)
    wanted = torch.fake_quantize_per_channel_affine(
        table.weight, scale, torch.zeros(ROWS, dtype=torch.int32), 0, *CODES
    )
    assert torch.equal(layer(IDS), wanted[IDS])
    assert not torch.equal(layer(IDS), table(IDS))


@torch.no_grad()
def test_per_tensor(table: EmbeddingTable) -> None:
    layer = quantized(table, per_row=False)
    wanted = torch.fake_quantize_per_tensor_affine(
        table.weight, float(layer.weight_quantizer.scale), 0, *CODES
    )
    assert torch.equal(layer(IDS), wanted[IDS])


def test_gradient_reaches_the_rows_that_were_read(table: EmbeddingTable) -> None:
    layer = quantized(table, per_row=True, bits=8)
    layer(IDS).sum().backward()
    assert torch.equal(
        layer.weight.grad.sum(dim=1) > 0, torch.bincount(IDS.flatten(), minlength=6) > 0
    )


@torch.no_grad()
def test_correction_is_added_where_the_table_is_quantized(table: EmbeddingTable) -> None:
    layer = quantized(table, per_row=True)
    plain, correction = layer(IDS), torch.arange(COLUMNS).float()
    layer.set_bias_correction(correction)
    assert torch.equal(layer(IDS), plain + correction)
    layer.weight_quantizer.enabled = False
    assert torch.equal(layer(IDS), table(IDS))


@torch.no_grad()
def test_corrected_weight_has_the_float_mean_of_each_column(table: EmbeddingTable) -> None:
    layer = quantized(table, per_row=True)
    layer.set_weight_correction("mean")
    found = layer.quantized_weight().mean(dim=0)
    torch.testing.assert_close(found, table.weight.mean(dim=0))


def test_rows_are_inputs_and_columns_outputs(table: EmbeddingTable) -> None:
    assert (in_channels(table), out_channels(table)) == (ROWS, COLUMNS)
    assert to_quantized(table).ch_axis == 0


def test_embeddings_of_detectors_stay_float() -> None:
    assert quantized_class(nn.Embedding(ROWS, COLUMNS)) is None
