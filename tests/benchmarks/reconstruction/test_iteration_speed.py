import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_folder_that_is_no_release_is_named(tmp_path):
    script = ROOT / "benchmarks/reconstruction/iteration_speed.py"
    command = [sys.executable, script, "--channels", "2", "--size", "4", "--qdrop", tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: --qdrop {tmp_path}: holds no qdrop/solver/recon.py" in done.stderr
