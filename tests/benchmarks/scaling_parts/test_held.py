"""benchmarks/scaling_parts/held.py: what was seen of the promises."""

import copy

import pytest

RESULTS = {
    "statistics": "s",
    "ranges": "r",
    "evaluation": {"bbox_mAP": 0.5},
    "search": {"losses": "l", "model": "m"},
    "reconstruction": {"left": 0.9, "one_model": True},
}


@pytest.fixture
def held():
    from scaling_parts import held

    return held


@pytest.fixture
def cells(held):
    """Two runs each; of the second process count every part takes 0.55 and 0.65 of the seconds."""

    def runs(*seconds):
        return [
            {"seconds": dict.fromkeys(held.PROMISES, s), "results": copy.deepcopy(RESULTS)}
            for s in seconds
        ]

    return {1: runs(10.0, 20.0), 2: runs(5.5, 13.0)}


def test_all_is_as_promised(held, cells):
    assert held.broken(cells) == []
    rows = [line.strip("| ").split(" | ") for line in held.markdown(cells).splitlines()]
    assert rows[2][:6] == ["statistics", "15.00", "9.25", "0.62", "0.55 to 0.65", "0.6"]
    assert [row[5] for row in rows[2:]] == ["0.6", "not shared", *["0.6"] * 3, "not shared"]


@pytest.mark.parametrize("part", ["statistics", "ranges", "evaluation", "search"])
def test_one_run_with_another_result_is_seen(held, cells, part):
    cells[2][1]["results"][part] = "another"
    assert held.broken(cells) == [held.PROMISES[part].title]


def test_processes_with_two_models_are_seen_and_losses_may_differ(held, cells):
    for run in cells[2]:
        run["results"]["reconstruction"]["left"] = 0.95
    assert held.one_model(cells) == ("yes; of the losses are left 0.900 and 0.950", True)
    cells[2][0]["results"]["reconstruction"]["one_model"] = False
    assert held.broken(cells) == ["reconstruction"]
