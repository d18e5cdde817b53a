"""Classifiers of other packages go through the recipes, where their package is installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint

from mmptq.engine import LossEvaluator
from mmptq.hooks.save import save_checkpoint
from mmptq.models import stays_float
from tests.conformance.checks import LARGEST_DISTANCE, check_plan, check_reconstruction
from tests.conformance.networks import Network, NetworkRun, load_networks

NETWORKS = load_networks()

pytestmark = pytest.mark.conformance


@pytest.fixture(autouse=True)
def in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longer than the recipes: curves, explanations, what a resume needs."""
    monkeypatch.setattr("mmptq.algorithms.reconstruction.report.plot_unit", lambda *_: Figure())
    monkeypatch.setattr("mmptq.runner.explain.COLLAPSE", 1.0)
    progress = "mmptq.algorithms.reconstruction.progress.Progress"
    monkeypatch.setattr(f"{progress}.unit_finished", lambda *_: None)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Network], NetworkRun]:
    """The runs of a network; only the last network's are kept."""
    kept: dict[str, NetworkRun] = {}

    def get(network: Network) -> NetworkRun:
        if network.name not in kept:
            kept.clear()
            kept[network.name] = NetworkRun(network, tmp_path_factory.mktemp("network"))
        return kept[network.name]

    return get


def check_mmse_w8a8(run: NetworkRun, record: Callable[[str, Any], None]) -> None:
    """The logits are nearly the float model's."""
    runner, results = run.mmse
    distance = LossEvaluator(runner.context, {"type": "OutputDistance"}, incremental=False)()
    record("distance", distance)
    assert distance <= LARGEST_DISTANCE
    assert len(results.rows) == 2


def check_reload(run: NetworkRun, record: Callable[[str, Any], None]) -> None:
    """As for detectors: the dumped config and the checkpoint, plain or packed, are the model."""
    runner, _ = run.mmse
    work_dir = Path(runner.work_dir)
    save_checkpoint(work_dir / "packed.pth", runner.model, {}, packed=True)
    assert not stays_float(runner.model)
    wanted = run.scores(runner.model)
    for name in ("quantized.pth", "packed.pth"):
        cfg = Config.fromfile(work_dir / Path(runner.cfg.filename).name)
        model = MODELS.build(cfg.model).eval()
        load_checkpoint(model, str(work_dir / name), map_location="cpu")
        assert torch.equal(run.scores(model), wanted)


def check_adaround(run: NetworkRun, record: Callable[[str, Any], None]) -> None:
    """Every layer is rounded anew, none for the worse."""
    check_reconstruction(run, "adaround", "AdaRound")


CHECKS: dict[str, Callable[[Any, Callable[[str, Any], None]], None]] = {
    "plan": check_plan,
    "mmse_w8a8": check_mmse_w8a8,
    "reload": check_reload,
    "adaround": check_adaround,
}


@pytest.mark.parametrize(
    ("network", "recipe"),
    [
        pytest.param(
            network,
            recipe,
            id=f"{network.name}-{recipe}",
            marks=pytest.mark.xdist_group(network.name),
        )
        for network in NETWORKS
        for recipe in CHECKS
    ],
)
def test_recipe(
    network: Network,
    recipe: str,
    run_of: Callable[[Network], NetworkRun],
    record_property: Callable[[str, Any], None],
) -> None:
    network.require()
    for name, value in (
        ("package", network.package),
        ("network", network.config),
        ("recipe", recipe),
    ):
        record_property(name, value)
    CHECKS[recipe](run_of(network), record_property)
