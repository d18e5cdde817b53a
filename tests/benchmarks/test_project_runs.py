"""benchmarks/project_runs.py: the project's own cells make a leaderboard."""

import json
import subprocess
import sys

from mmptq.evaluation import Results
from mmptq.leaderboard import make_boards, read_runs
from tests.tiny_project import REPO


def test_every_figure_is_its_cells(tmp_path):
    command = [sys.executable, REPO / "benchmarks/project_runs.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr
    boards = make_boards(read_runs([tmp_path]))
    assert f"{sum(board.num_runs for board in boards)} runs" in done.stdout
    (board,) = [board for board in boards if "bccd" in board.title]
    cells = json.loads((REPO / "benchmarks/results/bccd_observers.json").read_text())
    (cell,) = [
        cell
        for cell in board.cells
        if (cell.model, cell.first.method) == ("RetinaNet-R18", "kl")
        and (cell.first.row.scope, cell.first.row.w_bits) == ("full", 4)
    ]
    for sample in cell.samples:
        end = f"/seed{sample.seed}" if sample.seed else ""
        assert sample.row.metrics == cells[f"RetinaNet-R18/full/4/kl{end}"]
    assert cell.float_cell.first.row.metrics == cells["RetinaNet-R18/float"]
    assert cell.labels is False


def test_cells_of_top1_and_of_percent_have_their_evaluators_names(tmp_path):
    command = [sys.executable, REPO / "benchmarks/project_runs.py", "--out", tmp_path]
    subprocess.run(command, capture_output=True, check=True, cwd=REPO)
    for file, name, key, factor, field in (
        ("cifar10_reconstruction", "resnet20/W2A2/qdrop/seed1", "top1", 1, "top1"),
        ("default_recipe", "yolox_nano/W8A8/mmse/channels/seed0", "bbox_mAP", 100, "metric"),
    ):
        cell = json.loads((REPO / f"benchmarks/results/{file}.json").read_text())[name]
        run = tmp_path / file / name.replace("/", "_") / "results.json"
        row = Results.from_json(run).rows[-1]
        assert abs(factor * row.metrics[key] - cell[field]) < 1e-9
