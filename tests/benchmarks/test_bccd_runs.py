"""benchmarks/bccd_runs.py: the project's own cells make a leaderboard."""

import json
import subprocess
import sys

from mmptq.leaderboard import make_boards, read_runs
from tests.tiny_project import REPO


def test_every_figure_is_its_cells(tmp_path):
    command = [sys.executable, REPO / "benchmarks/bccd_runs.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr
    (board,) = make_boards(read_runs([tmp_path]))
    assert f"{board.num_runs} runs" in done.stdout
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
