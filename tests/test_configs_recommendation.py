"""Every recommendation config says what its name says, inherits its float config, and plans."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmptq.adapters import RecommenderAdapter, find_adapter
from mmptq.models import QConfig
from mmptq.runner.settings import CalibrationSettings

CONFIGS = Path(__file__).resolve().parents[1] / "configs/recommendation"
FOUND = sorted(path.name for path in CONFIGS.glob("*.py"))
PAIRS = 50_000  # LAPQ, section 5.2


def test_the_promised_configs_are_there() -> None:
    assert (
        sorted(
            f"ncf_ml1m_{bits}_{recipe}.py"
            for bits in ("w8a8", "w32a8", "w8a32", "w4a8")
            for recipe in ("mmse", "lapq")
        )
        == FOUND
    )


@pytest.mark.parametrize("name", FOUND)
def test_says_what_its_name_says(name: str) -> None:
    cfg = Config.fromfile(CONFIGS / name)
    found = re.fullmatch(r"ncf_ml1m_w(\d+)a(\d+)_(\w+)\.py", name)
    assert found, name
    qconfig = QConfig.parse(cfg.qconfig)
    specs = (qconfig.weight, qconfig.act)
    assert [32 if s is None else s.num_bits for s in specs] == [int(found[1]), int(found[2])]
    settings = CalibrationSettings.parse(cfg.calib_cfg)
    assert settings.method == found[3]
    assert settings.num_images * (1 + cfg.calib_dataloader.dataset.num_negatives) == PAIRS
    assert cfg.model.type == "mmptq.QuantRecommender"
    own, wanted = cfg.model.to_dict(), Config.fromfile(CONFIGS / "_base_/ncf_ml1m.py").model
    assert own.pop("type") and own.pop("recommender_type") == wanted.pop("type")
    assert own == wanted.to_dict()


@pytest.mark.parametrize("name", [name for name in FOUND if "mmse" in name])
def test_plans(name: str) -> None:
    init_default_scope("mmdet")
    cfg = Config.fromfile(CONFIGS / name)
    cfg.model.update(num_users=6, num_items=5)
    adapter = find_adapter(MODELS.build(cfg.model).model)
    assert isinstance(adapter, RecommenderAdapter)
    plan = adapter.plan(QConfig.parse(cfg.qconfig))
    assert plan.unplanned == ()
    weights = [layer.weight for layer in plan.layers if layer.weight]
    # Four tables, three hidden layers and the last one; each with one step.
    assert len(weights) == (0 if "w32" in name else 8)
    assert not any(spec.per_channel for spec in weights)
    assert len(plan.sites) == (0 if "a32" in name else 6)


def test_epochs_fit_the_schedule() -> None:
    cfg = Config.fromfile(CONFIGS / "_base_/ncf_ml1m.py")
    assert cfg.param_scheduler[1].end == cfg.param_scheduler[1].T_max == cfg.train_cfg.max_epochs
    assert cfg.optim_wrapper.optimizer == dict(type="Adam", lr=1e-3)
