"""benchmarks/project_runs.py: the project's own cells make a leaderboard."""

import json
import sys

import pytest

from mmptq.evaluation import Results
from mmptq.leaderboard import make_boards, read_runs
from tests.tiny_project import REPO


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of what the command writes."""
    import project_runs

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["project_runs.py", "--out", str(folder)])
        project_runs.main()
    return folder


@pytest.fixture(scope="module")
def boards(runs):
    return make_boards(read_runs([runs]))


def cells_of(file):
    return json.loads((REPO / f"benchmarks/results/{file}.json").read_text())


def the_cell(boards, test, model, method, scope, bits, images=32):
    (board,) = [board for board in boards if test in board.title]
    (cell,) = [
        cell
        for cell in board.cells
        if (cell.model, cell.first.method, cell.first.runtime) == (model, method, "simulated")
        and (cell.first.row.scope, cell.first.row.w_bits, cell.first.row.a_bits) == (scope, *bits)
        and cell.first.row.images == images
    ]
    return cell


def test_every_figure_is_its_cells(boards):
    cells = cells_of("bccd_observers")
    cell = the_cell(boards, "bccd", "RetinaNet-R18", "kl", "full", (8, 8))
    assert len(cell.samples) > 1
    for sample in cell.samples:
        end = f"/seed{sample.seed}" if sample.seed else ""
        assert sample.row.metrics == cells[f"RetinaNet-R18/full/8/kl{end}"]
    assert cell.float_cell.first.row.metrics == cells["RetinaNet-R18/float"]
    assert cell.labels is False


@pytest.mark.parametrize(
    ("file", "name", "key", "factor", "field"),
    [
        ("cifar10_reconstruction", "resnet20/W2A2/qdrop/seed1", "top1", 1, "top1"),
        ("default_recipe", "yolox_nano/W8A8/mmse/channels/seed0", "bbox_mAP", 100, "metric"),
        ("runtime_map", "bccd_retinanet/W8A8/openvino", "bbox_mAP", 100, "real"),
    ],
)
def test_cells_of_top1_and_of_percent_have_their_evaluators_names(
    runs, file, name, key, factor, field
):
    row = Results.from_json(runs / file / name.replace("/", "_") / "results.json").rows[-1]
    assert abs(factor * row.metrics[key] - cells_of(file)[name][field]) < 1e-9


def test_a_search_is_labelled_by_what_it_reads_and_joins_its_seeds(boards):
    name = "lw+qa+joint by TaskLoss, 0.5 to 2 (distorted images)"
    search = the_cell(boards, "bccd", "RetinaNet-R18", name, "full", (4, 4))
    assert (search.labels, search.seeds) == (True, [0, 1, 2])
    name = "kl+joint by LastStageDistance"
    distance = the_cell(boards, "bccd", "Faster R-CNN-R18", name, "full", (4, 4))
    assert (distance.labels, len(distance.samples)) == (False, 10)


def test_what_two_files_have_counts_once(boards):
    cell = the_cell(boards, "bccd", "RetinaNet-R18", "minmax", "full", (4, 4))
    assert len(cell.samples) == 1  # of bccd_observers, lapq and default_recipe


def test_a_peers_row_has_its_runtime_and_the_float_model_of_its_set(boards):
    (board,) = [board for board in boards if "coco_subset" in board.title]
    (cell,) = [cell for cell in board.cells if cell.first.method == "NNCF mixed"]
    start = "yolox_nano_8xb8-300e_coco/yolox_nano_coco/coco_subset"
    cells = cells_of("peers")
    assert cell.first.runtime == "openvino"
    assert cell.float_cell.first.row.metrics == cells[f"{start}/float"]
    assert (
        cell.first.row.metrics["bbox_mAP"]
        == (cells[f"{start}/32 images, seed 0, 1 threads/nncf-mixed"]["bbox_mAP"])
    )


@pytest.mark.parametrize("end", ["", "/8 times"])
@pytest.mark.parametrize("seed", [0, 2])
def test_names_of_cells_through_a_runtime(seed, end):
    from run_sources import SOURCES

    name = "bccd_retinanet/W4A4/openvino" + (f"/seed{seed}" if seed else "") + end
    both = [p for s in SOURCES if s.file == "runtime_map" and (p := s.parts(name)) is not None]
    assert [(p["seed"], p["target"], p.get("runtime")) for p in both] == [
        (str(seed), "openvino", None),
        (str(seed), "openvino", "openvino"),
    ]


def test_every_cell_of_a_converted_file_is_in_a_run_or_is_a_float_models(runs):
    import project_runs
    from run_sources import SOURCES

    found = {(file, name) for file, name, _ in project_runs.project_runs()}
    for file in ("methods", "lapq", "cifar10_lapq", "demo_reconstruction", "peers", "runtime_map"):
        for name in cells_of(file):
            sources = [source for source in SOURCES if source.file == file]
            known = any(source.parts(name) for source in sources)
            assert known or "/float" in name, f"{file}: {name}"
        assert any(f == file for f, _ in found)
