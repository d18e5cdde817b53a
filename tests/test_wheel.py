"""The package as others get it: built, installed into an environment of its own, run anywhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from mmptq.datasets import make_digits
from tests.tiny_project import REPO

PARTS = ("mmptq", "configs", "checkpoints", "pyproject.toml", "setup.py", "MANIFEST.in")
BUILD_SDIST = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
MEGABYTES = 6.0  # of the wheel, nearly all of it the demo's weights


def run(*command: object, cwd: Path, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `python -m build` makes it: from the archive of the sources, not from the clone."""
    folder = tmp_path_factory.mktemp("build")
    hidden = shutil.ignore_patterns("__pycache__")
    for name in (*PARTS, "README.md", "LICENSE"):
        source, target = REPO / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=hidden)
        else:
            shutil.copy(source, target)
    archive = run(sys.executable, "-c", BUILD_SDIST, cwd=folder).splitlines()[-1]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", folder)
    run(*pip, "wheel", *options, folder / "dist" / archive, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an environment's commands; mmptq in it is the wheel's, all else borrowed."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin/python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(python, "-c", where, cwd=folder).strip())
    # A path file's folders are searched, but their own path files, as of a clone, are not read.
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MEGABYTES * 1e6
    names = zipfile.ZipFile(wheel).namelist()
    weights = {Path(name).parent for name in names if name.endswith(".pth")}
    assert weights == {Path("mmptq/.mim/checkpoints/demo")}
    assert "mmptq/.mim/configs/deeppcb/retinanet_mobilenetv2_w8a8_mmse.py" in names


def test_demo_runs_outside_the_clone(environment: Path, tmp_path: Path) -> None:
    make_digits(tmp_path / "cache/demo", num_images={"train": 6, "val": 3})
    (tmp_path / "own.py").write_text('_base_ = ["mmptq::demo/retinanet_w8a8_mmse.py"]\n')
    command = "quantize own.py --qconfig mmptq::_base_/quant/w6a6.py --skip-float --skip-baseline"
    cache = str(tmp_path / "cache")
    options = ("--cfg-options", "calib_cfg.num_images=4")
    script = environment / "mmptq"
    run(script, *command.split(), *options, cwd=tmp_path, MMPTQ_CACHE=cache, OMP_NUM_THREADS="1")
    results = json.loads((tmp_path / "work_dirs/own/results.json").read_text())
    row = results["rows"][-1]
    assert (row["method"], row["w_bits"], row["a_bits"]) == ("mmse", 6, 6)
    assert row["bbox_mAP"] > 0.3
    assert "</html>" in (tmp_path / "work_dirs/own/report.html").read_text()
    weights = Path(results["float_checkpoint"]).resolve()
    assert weights.is_relative_to(environment.parent.resolve())
    assert weights.name == "retinanet_digits.pth"
