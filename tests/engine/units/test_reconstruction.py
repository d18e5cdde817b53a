from typing import Any

import pytest
import torch
from torch import nn

from mmptq.engine.units.reconstruction import Group, LoopSettings, Policy, UnitLoop
from mmptq.errors import NumericalError
from tests.calibration_support import make_context
from tests.reconstruction_support import prepared

__all__ = ["make_context"]


class Cooling(Policy):
    """A policy with a state."""

    def __init__(self) -> None:
        self.seen = 0

    def before(self, iteration: int) -> dict[str, Any] | None:
        self.seen += 1
        return {"event": "tick"} if iteration == 3 else None

    def lr_factor(self, iteration: int) -> float:
        return 0.9**self.seen

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.seen = state["seen"]


def run(make: Any, folder: str, iters: int = 12, seed: int = 0, **kwargs: Any) -> Any:
    def make_here(name: str) -> Any:
        return make(name, images=4, folder=folder)

    problem, _ = prepared(make_here, "retinanet", "backbone.layer2.0")
    snapshot, keep = kwargs.pop("snapshot", None), kwargs.pop("keep", None)
    params: list[Any] = [step.log_gain for step in problem.form.steps]
    params += [layer.weight for layer in problem.form.layers.values()]
    for param in params:
        param.requires_grad_(True)
    settings = LoopSettings(iters, 2, drop_prob=0.5, log_interval=5, **kwargs)
    with problem.form.attached():
        loop = UnitLoop(problem, [Group(params, 1e-3)], Cooling(), settings, seed, [0, 1])
        loop.run(snapshot, keep)
    return [param.detach().clone() for param in params], loop


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_one_seed_one_result(make_context: Any) -> None:
    first, loop = run(make_context, "a")
    assert same(first, run(make_context, "b")[0])
    assert not same(first, run(make_context, "c", seed=1)[0])
    assert [row["iteration"] for row in loop.log.rows] == [0, 3, 5, 10]


def test_going_on_from_any_snapshot_ends_in_the_same(make_context: Any) -> None:
    snapshots: list[Any] = []

    def keep(snapshot: Any) -> None:
        assert snapshot["iteration"] % 5 == 0
        buffer = {"x": snapshot}
        torch.save(buffer, "/dev/null")  # plain values and tensors only
        snapshots.append(_deep(snapshot))

    whole, loop = run(make_context, "a", checkpoint_interval=5, keep=keep)
    assert [snapshot["iteration"] for snapshot in snapshots] == [5, 10]
    for i, snapshot in enumerate(snapshots):
        again, resumed = run(make_context, f"b{i}", checkpoint_interval=5, snapshot=snapshot)
        assert same(whole, again)
        assert resumed.log.rows == loop.log.rows


def _deep(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _deep(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_deep(item) for item in value]
    return value


def test_the_loss_falls(make_context: Any) -> None:
    _, loop = run(make_context, "a", iters=41)
    losses = [row["R"] for row in loop.log.rows if "R" in row]
    assert losses[-1] < 0.9 * losses[0]


class Forgetful(Cooling):
    """Adam starts anew in iteration 3."""

    def forgets(self) -> bool:
        return self.seen == 4


@pytest.mark.parametrize(("policy", "anew"), [(Cooling, False), (Forgetful, True)])
def test_adam_starts_anew_where_the_policy_forgets(
    policy: type[Cooling], anew: bool, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first update has the size of the learning rate in every element."""
    monkeypatch.setattr(policy, "lr_factor", lambda *_: 1.0)
    monkeypatch.setitem(globals(), "Cooling", policy)
    before, after = (run(make_context, f"{iters}", iters=iters)[0] for iters in (3, 4))
    sizes = torch.cat([(b - a).flatten() for a, b in zip(before, after, strict=True)]).abs()
    moved = sizes[sizes > 0.0]
    assert bool(((moved / 1e-3 - 1.0).abs() < 0.02).float().mean() > 0.95) == anew


def test_accumulated_gradients_are_the_batchs(make_context: Any) -> None:
    """Images of one size, no dropping: the parts' mean is the whole."""
    problem, _ = prepared(lambda n: make_context(n, images=4), "retinanet", "backbone.layer3.0")
    param: nn.Parameter = problem.form.steps[0].log_gain
    gradients = []
    with problem.form.attached():
        for accumulate in (1, 2):
            loop = UnitLoop(
                problem,
                [Group([param], 1e-3)],
                Policy(),
                LoopSettings(1, 4, accumulate),
                0,
                [0],
            )
            loop._gradients(0, [param])
            assert param.grad is not None
            gradients.append(param.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_names_the_unit(make_context: Any) -> None:
    problem, _ = prepared(make_context, "retinanet", "backbone.layer1.0")
    param: Any = problem.form.steps[0].log_gain
    with torch.no_grad():
        param.fill_(float("nan"))
    loop = UnitLoop(problem, [Group([param], 1e-3)], Policy(), LoopSettings(1, 1), 0, [0])
    with problem.form.attached(), pytest.raises(NumericalError, match="backbone.layer1.0"):
        loop.run()
