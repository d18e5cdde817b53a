"""A killed reconstruction goes on to the same result, bit for bit."""

from typing import Any

import pytest

from mmptq.engine import CalibrationContext
from tests.calibration_support import MakeContext, make_context
from tests.steps_support import SMALL, make_step, run, same

__all__ = ["make_context"]


class _KilledError(Exception):
    pass


def _kill_after(context: CalibrationContext, saves: int) -> None:
    """The next run ends right after it has saved its progress for the ``saves``-th time."""
    save, count = context.store.save, 0

    def counted(stage: str, content: Any) -> None:
        nonlocal count
        save(stage, content)
        count += 1
        if count == saves:
            raise _KilledError

    context.store.save = counted  # type: ignore[method-assign]


OUTPUTS = {**SMALL, "target": "onnxruntime"}


@pytest.mark.parametrize(
    ("method", "qconfig"),
    [
        *((name, SMALL) for name in ("qdrop", "shrink", "rounded", "fisher", "outputs")),
        ("qdrop", OUTPUTS),
    ],
)
@pytest.mark.parametrize("saves", [1, 4, 8])
def test_a_killed_run_goes_on_to_the_same_result(
    make_context: MakeContext, method: str, qconfig: dict[str, Any], saves: int
) -> None:
    """A unit saves after iterations 8 and 16, and when it is finished."""
    step = make_step(method, iters=20, checkpoint_interval=8)
    whole = run(make_context("retinanet", qconfig=qconfig, folder="whole"), step)
    killed = make_context("retinanet", qconfig=qconfig)
    _kill_after(killed, saves)
    with pytest.raises(_KilledError):
        run(killed, step)
    resumed = make_context("retinanet", qconfig=qconfig, resume=True)
    seen: list[Any] = []
    track = resumed.track
    resumed.track = lambda items, name, total=None: (seen.append(total), track(items, name, total))[
        1
    ]
    assert same(run(resumed, step), whole)
    assert seen[-1] == 5 - saves // 3
    assert not list(resumed.store.folder.glob("snapshot_*"))


def test_progress_of_another_start_is_not_taken(make_context: MakeContext) -> None:
    """Two steps of one kind in a recipe, or other ranges: each starts anew."""
    step = make_step("qdrop", iters=6)
    killed = make_context("retinanet", qconfig=SMALL)
    _kill_after(killed, 2)
    with pytest.raises(_KilledError):
        run(killed, step)
    moved = make_context("retinanet", qconfig=SMALL, resume=True)
    plain = make_context("retinanet", qconfig=SMALL, folder="plain")
    for context in (moved, plain):
        next(iter(context.model.sites.values())).scale.mul_(1.01)
    assert same(run(moved, step), run(plain, step))


@pytest.mark.parametrize("saves", [1, 4])
@pytest.mark.parametrize("method", ["fisher", "outputs"])
def test_a_killed_run_on_crops_goes_on_to_the_same_result(
    make_context: MakeContext, method: str, saves: int
) -> None:
    step = make_step(method, checkpoint_interval=8, crop=5)
    whole = run(make_context("retinanet", qconfig=SMALL, folder="whole"), step)
    killed = make_context("retinanet", qconfig=SMALL)
    _kill_after(killed, saves)
    with pytest.raises(_KilledError):
        run(killed, step)
    assert same(run(make_context("retinanet", qconfig=SMALL, resume=True), step), whole)
