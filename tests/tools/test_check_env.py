"""tools/check_env.py in an environment that is whole, and in an empty one."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "check_env.py"


def run(python: str | Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in an environment that holds what ``python`` has installed, and no more."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), str(SCRIPT), *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False)


@pytest.fixture(scope="module")
def empty_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.mark.slow
def test_this_environment_is_whole(tmp_path: Path) -> None:
    done = run(sys.executable, "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["ok"] is True
    assert report["stack"] in ("upstream", "onedl")
    checks = {check["name"]: check for check in report["checks"]}
    assert all(set(c) == {"name", "status", "detail", "fix", "required"} for c in report["checks"])
    assert "operators compiled" in checks["mmcv"]["detail"]
    assert checks["mmptq"]["status"] == "ok"


def test_empty_environment_names_every_fix(empty_python: Path, tmp_path: Path) -> None:
    done = run(empty_python, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == ""
    for command in (
        "-m pip install 'torch>=2.6'",
        "-m pip install 'mmengine>=0.10.4,<0.11'",
        "tools/install_mmcv.py --stack upstream",
        "-m pip install 'mmdet>=3.3,<3.4'",
        "-m pip install --no-build-isolation -e '.[upstream]'",
    ):
        assert f"{empty_python} {command}\n" in done.stdout
    assert done.stdout.index("mmengine>=") < done.stdout.index("install_mmcv.py")
    assert "make install" in done.stdout
    assert len(done.stdout.splitlines()) < 40


def test_empty_environment_as_json(empty_python: Path, tmp_path: Path) -> None:
    done = run(empty_python, "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["stack"]) == (1, False, "none")
    status = {check["name"]: check["status"] for check in report["checks"]}
    assert status["mmcv"] == status["mmdet"] == status["torch"] == "missing"
    assert status["GPU"] == "blocked"
    assert status["onnx"] == "absent"
