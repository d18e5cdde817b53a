"""benchmarks/comparison/campaign.py: what is missing is measured, whatever happens meanwhile."""

import io

import pytest
from rich.console import Console


class StandIn:
    """In place of a run: figures, or the error that a cell's name is given."""

    def __init__(self, errors=None):
        self.errors, self.called = errors or {}, []

    def __call__(self, cell):
        self.called.append(cell.name)
        if cell.name in self.errors:
            raise self.errors[cell.name]
        return {
            "bbox_mAP": 0.5,
            "distance": 0.01,
            "cell_seconds": 20.0,
            "recipe": cell.steps,
            "images": cell.num_images,
        }


@pytest.fixture
def wanted():
    """The float model and two methods of the demo RetinaNet at W4A4."""
    from comparison.columns import find_columns
    from comparison.plan import all_cells
    from comparison.specs import find_specs

    def cells(*methods, seeds=(0,)):
        specs = find_specs(methods or ["minmax", "mmse"])
        return list(all_cells(["demo_retinanet"], specs, find_columns(["W4A4"]), seeds))

    return cells


@pytest.fixture
def campaign(tmp_path):
    """A new one on the same files each time; what it printed is in ``.out``."""
    from cells import Cells
    from comparison.campaign import Campaign

    def make(again=False):
        out = io.StringIO()
        made = Campaign(Cells(tmp_path / "c.json"), tmp_path, Console(file=out, width=500), again)
        made.out = out
        return made

    return make


FLOAT = "demo_retinanet/float"
MINMAX, MMSE = (f"demo_retinanet/{name}/W4A4/seed0" for name in ("minmax", "mmse"))


def test_every_cell_is_measured_once(campaign, wanted):
    first, second = StandIn(), StandIn()
    assert campaign().run(wanted(), first) == []
    assert campaign().run(wanted(seeds=[0, 1]), second) == []
    assert first.called == [FLOAT, MINMAX, MMSE]
    assert second.called == [MINMAX.replace("seed0", "seed1"), MMSE.replace("seed0", "seed1")]


def test_a_failure_is_noted_and_the_others_go_on(campaign, wanted, tmp_path):
    broken = StandIn({MINMAX: RuntimeError("no luck")})
    run = campaign()
    (failure,) = run.run(wanted(), broken)
    assert (failure.cell.name, failure.error) == (MINMAX, "RuntimeError: no luck")
    assert broken.called == [FLOAT, MINMAX, MMSE]
    note = tmp_path / "demo_retinanet_minmax_W4A4_seed0/error.txt"
    assert "in __call__" in note.read_text()
    assert f"{MINMAX} failed: RuntimeError: no luck ({note})" in run.out.getvalue()

    again = StandIn()
    assert [campaign().state(cell) for cell in wanted()] == ["done", "failed", "done"]
    assert campaign().run(wanted(), again) == []
    assert again.called == [MINMAX]
    assert not note.exists()


def test_what_was_done_before_a_kill_stays_done(campaign, wanted):
    killed = StandIn({MINMAX: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        campaign().run(wanted(), killed)
    rest = StandIn()
    campaign().run(wanted(), rest)
    assert rest.called == [MINMAX, MMSE]


def test_a_cell_of_another_recipe_stays_unless_it_is_asked_for(campaign, wanted, monkeypatch):
    from comparison import methods

    campaign().run(wanted(), StandIn())
    other = methods.METHODS["mmse"]._replace(recipe="kl")
    monkeypatch.setitem(methods.METHODS, "mmse", other)
    quiet, again = StandIn(), StandIn()
    run = campaign()
    run.run(wanted(), quiet)
    assert quiet.called == []
    assert f"{MMSE}: was measured by another recipe" in run.out.getvalue()
    campaign(again=True).run(wanted(), again)
    assert again.called == [MMSE]


def test_a_dry_run_tells_states_and_seconds_and_measures_nothing(campaign, wanted):
    campaign().run(wanted("minmax"), StandIn({MINMAX: ValueError()}))
    campaign().run(wanted("mmse"), StandIn())
    lines = list(campaign().dry_run(wanted("minmax", "mmse", "gptq", seeds=[0, 1])))
    assert lines == [
        f"done          {FLOAT}",
        f"failed        {MINMAX}: not known how long",
        f"done          {MMSE}",
        "new           demo_retinanet/gptq/W4A4/seed0: not known how long",
        "new           demo_retinanet/minmax/W4A4/seed1: not known how long",
        "new           demo_retinanet/mmse/W4A4/seed1: about 20 s",
        "new           demo_retinanet/gptq/W4A4/seed1: not known how long",
        "5 of 7 cells to measure; about 20 s and 4 cells of unknown length left",
    ]


def test_a_line_a_cell_says_what_came_out_and_what_is_left(campaign, wanted):
    run = campaign()
    run.run(wanted("mmse", seeds=[0, 1]), StandIn())
    assert run.out.getvalue().splitlines()[1:] == [
        f"[2/3] {MMSE}: mAP 50.0, distance 0.0100, 20 s; about 20 s left",
        "[3/3] demo_retinanet/mmse/W4A4/seed1: mAP 50.0, distance 0.0100, 20 s; about 0 s left",
    ]
