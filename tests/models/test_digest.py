"""Digests of a model's state."""

import hashlib

import torch
from torch import nn

from mmptq.models import model_digest, state_digest


def test_it_sees_buffers_and_single_bits():
    model = nn.BatchNorm2d(3)
    digests = {state_digest(model.state_dict().items())}
    model.running_mean[1] = 1e-30
    digests.add(state_digest(model.state_dict().items()))
    model.num_batches_tracked += 1
    digests.add(state_digest(model.state_dict().items()))
    assert len(digests) == 3


def test_it_is_the_hash_of_names_and_bytes_in_their_order():
    """Work dirs of finished runs hold it: another one would refuse to resume them."""
    items = [("b", torch.arange(6.0).reshape(2, 3).T), ("a", torch.tensor(True)), ("c", "text")]
    raw = [b"b", items[0][1].numpy().tobytes(), b"a", b"\x01", b"c"]
    assert state_digest(items) == hashlib.sha256(b"".join(raw)).hexdigest()[:16]
    assert state_digest(items) != state_digest(reversed(items))


def test_a_models_is_with_or_without_its_ranges(make_quantized):
    model = make_quantized("retinanet")
    with_ranges, without = model_digest(model, ranges=True), model_digest(model, ranges=False)
    _, layer = next(iter(model.quant_layers()))
    site = next(iter(model.sites.values()))
    site.set_range(torch.tensor(0.0), torch.tensor(2.0))
    assert model_digest(model, ranges=True) != with_ranges
    assert model_digest(model, ranges=False) == without
    with torch.no_grad():
        layer.weight[0] += 1.0
    assert model_digest(model, ranges=False) != without
