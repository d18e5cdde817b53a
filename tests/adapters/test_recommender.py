"""The recommender's adapter, against the model and torch's own loss."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmptq.adapters import RecommenderAdapter, find_adapter
from mmptq.adapters.passes import FrozenPass
from mmptq.datasets import CandidateLists
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.export.kinds import make_part
from mmptq.models.quant_recommender import with_tables
from mmptq.runner.probe import pipeline_probe
from mmptq.structures import PairsSample
from tests.recommendation_support import ITEMS, USERS, neumf


@pytest.fixture
def adapter() -> RecommenderAdapter:
    adapter = find_adapter(with_tables(neumf()))
    assert isinstance(adapter, RecommenderAdapter)
    return adapter


def test_traced_on_users_and_items_that_there_are(adapter) -> None:
    pairs = adapter.trace_image()
    assert pairs.shape == (1, 4, 2) and pairs.dtype == torch.int64
    assert torch.equal(pairs, adapter.trace_image())
    many = adapter.random_image((5000, 2))[0]
    assert many.amin(dim=0).tolist() == [0, 0]
    assert many.amax(dim=0).tolist() == [USERS - 1, ITEMS - 1]


def test_no_pipeline_is_asked(adapter) -> None:
    probe = pipeline_probe(Config(), adapter)
    assert probe.size == probe.full_size == (1, 2)


def test_frozen_parameters_are_traced_and_stay_frozen(adapter) -> None:
    adapter.model.requires_grad_(False)
    trace = adapter.trace()
    assert trace.last == {"predict_layer"} and trace.first == set()
    assert not any(p.requires_grad for p in adapter.model.parameters())


@torch.no_grad()
def test_loss_is_torchs(adapter) -> None:
    pairs, labels = adapter.trace_image(), torch.tensor([1.0, 0.0, 0.0, 1.0])
    sample = PairsSample()
    sample.set_field(labels, "gt_labels", field_type="data")
    (logits,) = adapter.raw_outputs(pairs)
    wanted = F.binary_cross_entropy_with_logits(logits[0], labels)
    assert torch.equal(adapter.loss(pairs, FrozenPass([sample]))["loss"], wanted)


def test_small_pass_has_labels(adapter) -> None:
    pairs, frozen = adapter.small_pass(with_labels=True)
    assert adapter.loss(pairs, frozen)["loss"].isfinite()


def test_layers_are_units(adapter) -> None:
    assert adapter.unit_of("mlp.layers.2", "block") == "mlp.layers.2"
    assert adapter.unit_of("gmf.user", "block") == "gmf.user"


def test_set_with_more_items_than_the_model(adapter, tmp_path) -> None:
    (tmp_path / "test").write_text(f"(0,{ITEMS})\t1\n")
    sizes = dict(num_users=USERS, num_items=ITEMS + 1)
    dataset = CandidateLists(ann_file=str(tmp_path / "test"), **sizes)
    with pytest.raises(
        CalibrationDataError, match=r"test set has num_items = 41, the model 40; use"
    ):
        adapter.check_dataset(dataset, "the test set")


def test_export_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a NeuMF cannot be exported: .*tools/pack\.py"):
        make_part(neumf())
