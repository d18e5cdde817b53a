"""benchmarks/comparison/groups.py and intervals.py: how sure a difference is."""

import numpy as np
import pytest

MODEL, COLUMN = "demo_retinanet", "W4A4"


@pytest.fixture
def world(tmp_path):
    """Cells by method and seed, with draws around their mAP."""
    return World(tmp_path)


class World:
    def __init__(self, folder):
        self.folder, self.values, self.noise = folder, {}, np.random.default_rng(0)
        self.add(None, 0, 60.0)

    def cell(self, method, seed):
        from comparison.columns import find_columns
        from comparison.plan import Cell
        from comparison.specs import find_specs

        if method is None:
            return Cell(MODEL)
        return Cell(MODEL, find_specs([method])[0], find_columns([COLUMN])[0], seed)

    def add(self, method, seed, value, draws=True):
        cell = self.cell(method, seed)
        self.values[cell.name] = {"bbox_mAP": value / 100, "distance": 0.1 * (1 + seed)}
        if draws:
            cell.folder(self.folder).mkdir()
            drawn = value + self.noise.normal(size=1000)
            np.save(cell.folder(self.folder) / "draws.npy", drawn.astype(np.float32))

    def draws(self, method, seed=0):
        return np.load(self.cell(method, seed).folder(self.folder) / "draws.npy")

    def group(self, method):
        from comparison.groups import find_group

        cell = self.cell(method, 0)
        return find_group(self.values, cell.model, cell.spec, cell.column)

    def compared(self, method, against=()):
        from comparison.intervals import compare, references
        from comparison.specs import find_specs

        group = self.group(method)
        return compare(group, references(self.values, group, find_specs(against)), self.folder)


def test_a_row_has_all_seeds_of_its_method_and_of_no_other(world):
    for seed in (0, 11):
        world.add("qdrop", seed, 50.0 + seed)
    for seed, method in enumerate(("qdrop@50", "qdrop@50:batch_size=4"), 1):
        world.add(method, seed, 40.0)
    group = world.group("qdrop")
    assert (group.seeds, group.values) == ([0, 11], [50.0, 61.0])
    assert group.spread() == (55.5, pytest.approx(np.std([50, 61], ddof=1)))
    assert group.mean("distance") == pytest.approx(0.65)
    assert world.group("mmse") is None
    assert world.group("qdrop@50").seeds == [1]


def test_a_difference_has_the_interval_of_the_paired_draws(world):
    world.add("minmax", 0, 40.0)
    world.add("gptq", 0, 55.0)
    found = world.compared("gptq")
    low, high = np.percentile(world.draws("gptq") - world.draws("minmax"), [2.5, 97.5])
    assert found["minmax"] == {
        "method": "minmax",
        "difference": 15.0,
        "low": round(float(low), 2),
        "high": round(float(high), 2),
    }
    assert found["float"]["difference"] == -5.0
    assert found["best"] == found["minmax"]


def test_seeds_are_averaged_draw_by_draw(world):
    for seed in (0, 1):
        world.add("gptq", seed, 50.0 + seed)
    ours = (world.draws("gptq", 0) + world.draws("gptq", 1)) / 2
    low, high = np.percentile(ours - world.draws(None), [2.5, 97.5])
    assert world.compared("gptq")["float"] == {
        "method": "float",
        "difference": -9.5,
        "low": pytest.approx(low, abs=0.01),
        "high": pytest.approx(high, abs=0.01),
    }


def test_the_best_choice_of_ranges_is_the_best_on_these_seeds(world):
    world.add("minmax", 0, 40.0)
    world.add("mmse", 0, 45.0)
    world.add("kld", 1, 70.0)  # of another seed
    world.add("gptq", 0, 44.0)  # no choice of ranges
    assert world.compared("gptq")["best"]["method"] == "mmse"
    assert "best" not in world.compared("mmse")


def test_a_method_may_be_compared_with_any_other(world):
    world.add("direct@300", 0, 40.0)
    world.add("bitshrink@300", 0, 41.0)
    found = world.compared("bitshrink@300", ["direct@300"])
    assert found["direct@300"]["difference"] == 1.0


def test_rows_of_other_seeds_are_not_compared(world):
    world.add("minmax", 1, 40.0)
    world.add("gptq", 0, 50.0)
    assert set(world.compared("gptq")) == {"seeds", "float"}


def test_without_its_draws_a_row_keeps_the_intervals_of_the_same_seeds(world, tmp_path):
    from cells import Cells
    from comparison.intervals import refresh

    world.add("minmax", 0, 40.0, draws=False)
    kept = Cells(tmp_path / "intervals.json")
    known = {"seeds": [0], "float": {"difference": -20.0}}
    kept.put(f"{MODEL}/{COLUMN}/minmax", known)
    refresh(kept, world.values, world.group("minmax"), tmp_path)
    assert kept.values[f"{MODEL}/{COLUMN}/minmax"] == known

    world.add("minmax", 1, 42.0)
    world.cell("minmax", 0).folder(tmp_path).mkdir()
    np.save(world.cell("minmax", 0).folder(tmp_path) / "draws.npy", np.zeros(1000, np.float32))
    refresh(kept, world.values, world.group("minmax"), tmp_path)
    assert kept.values[f"{MODEL}/{COLUMN}/minmax"]["seeds"] == [0, 1]
    assert kept.values[f"{MODEL}/{COLUMN}/minmax"]["float"]["difference"] == -19.0


def test_a_table_shows_differences_of_the_measured_seeds_alone(world):
    from comparison.columns import find_columns
    from comparison.specs import find_specs
    from comparison.tables import contents, to_markdown, to_text

    world.add("minmax", 0, 40.0)
    world.add("gptq", 0, 55.0)
    world.add("gptq", 1, 57.0)
    difference = {"method": "minmax", "difference": 15.0, "low": 14.0, "high": 16.0}
    intervals = {
        f"{MODEL}/{COLUMN}/minmax": {"seeds": [0], "float": {**difference, "difference": -20.0}},
        f"{MODEL}/{COLUMN}/gptq": {"seeds": [0], "minmax": difference},  # before seed 1
    }
    specs = find_specs(["minmax", "gptq", "mmse"])
    tables = list(contents(world.values, intervals, [MODEL], find_columns([COLUMN, "W2A4"]), specs))
    assert to_markdown(tables).splitlines() == [
        "**RetinaNet, demo, W4A4, float 60.0**",
        "",
        "| method | seeds | mAP | distance | minus float | minus min-max | minus best ranges "
        "| seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| min-max | 0 | 40.0 | 0.1000 | -20.0 (+14.0 to +16.0) |  |  |  |",
        "| GPTQ | 0 1 | 56.0 ± 1.4 | 0.1500 |  |  |  |  |",
    ]
    assert "56.0 ± 1.4" in to_text(tables)


def test_a_table_says_where_a_step_gave_its_start(world):
    from comparison.columns import find_columns
    from comparison.specs import find_specs
    from comparison.tables import contents

    for method, seeds in (("qdrop", [0]), ("bitshrink", [0, 1])):
        for seed in seeds:
            world.add(method, seed, 50.0)
        world.values[world.cell(method, 0).name]["verdicts"] = [{"kept": True}, {"kept": False}]
    specs = find_specs(["qdrop", "bitshrink"])
    (table,) = contents(world.values, {}, [MODEL], find_columns([COLUMN]), specs)
    assert [row[2] for row in table.rows] == ["50.0 (start kept)", "50.0 ± 0.0 (start kept 1 of 2)"]
