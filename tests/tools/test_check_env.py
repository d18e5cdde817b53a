"""check_env in environments that are whole, empty, and broken in one place."""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import check_env
import pytest
from check_env import Check, run_probe, settle_blocked
from env_probes import PACKAGES, PROBES, Probe

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "check_env.py"


def probe(name: str) -> Probe:
    return next(p for p in PROBES if p.name == name)


def run(python: str | Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), str(SCRIPT), *args], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture(scope="module")
def empty_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a module in the way of the real one: its import runs the given code."""

    def put(module: str, code: str) -> None:
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


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
        "-m pip install 'torch>=2.4'",
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


def test_missing_module_gives_the_command_that_installs_it(stub) -> None:
    stub("scipy", "raise ModuleNotFoundError(\"No module named 'scipy'\", name='scipy')")
    check = run_probe(probe("scipy"), "upstream")
    assert check.status == "missing"
    assert check.fix.endswith("-m pip install scipy")


def test_broken_module_is_reinstalled(stub) -> None:
    stub("scipy", "raise ImportError('undefined symbol: dgemm_')")
    check = run_probe(probe("scipy"), "upstream")
    assert (check.status, check.detail) == ("fault", "ImportError: undefined symbol: dgemm_")
    assert check.fix.endswith("-m pip install --force-reinstall --no-deps scipy")


def test_process_that_dies_is_a_fault(stub) -> None:
    stub("scipy", "import os; os.abort()")
    assert run_probe(probe("scipy"), "upstream").status == "fault"


def test_opencv_without_system_libraries(stub) -> None:
    stub("cv2", "raise ImportError('libGL.so.1: cannot open shared object file')")
    assert run_probe(probe("opencv"), "upstream").fix == "apt-get install -y libgl1 libglib2.0-0"


def test_mmdet_that_refuses_the_mmcv_there_is(stub) -> None:
    stub(
        "mmdet", "assert False, 'MMCV==2.2.0 is used but incompatible. Please install mmcv<2.2.0.'"
    )
    check = run_probe(probe("mmdet"), "upstream")
    assert check.status == "fault"
    assert check.fix.endswith("tools/install_mmcv.py --stack upstream")


def test_mmcv_without_operators(stub) -> None:
    stub("mmcv", "raise ModuleNotFoundError(\"No module named 'mmcv._ext'\", name='mmcv._ext')")
    check = run_probe(probe("mmcv"), "onedl")
    assert (check.status, check.detail.split(": ")[1]) == ("fault", "No module named 'mmcv._ext'")
    assert check.fix.endswith("tools/install_mmcv.py --stack onedl")


def test_torchvision_that_does_not_fit_torch(stub) -> None:
    stub("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    check = run_probe(probe("torchvision"), "upstream")
    assert "-m pip uninstall -y torchvision" in check.fix
    assert not check.required


def test_warning_keeps_its_fix() -> None:
    code = "print('2.1.0, WARNING: operators compiled for the CPU alone')"
    check = run_probe(Probe("mmcv", "mmcv", code), "upstream")
    assert (check.status, check.detail) == (
        "warning",
        "2.1.0, operators compiled for the CPU alone",
    )
    assert check.fix.endswith("tools/install_mmcv.py --stack upstream --force")


def test_consequences_of_a_fault_are_not_faults_of_their_own() -> None:
    checks = [
        Check("numpy", "missing", "No module named 'numpy'", "pip install numpy"),
        Check("scipy", "fault", "ImportError", "pip install scipy"),
        Check("mmdet", "missing", "No module named 'mmdet'", "pip install mmdet"),
        Check("rich", "ok", "15"),
    ]
    settled = settle_blocked(checks)
    assert [check.status for check in settled] == ["missing", "blocked", "missing", "ok"]
    assert (settled[1].detail, settled[1].fix) == ("needs numpy", "")
    assert not check_env.healthy(settled)


@pytest.mark.parametrize(
    ("installed", "stack"),
    [
        ({"mmcv", "mmengine", "mmdet"}, "upstream"),
        ({"onedl-mmcv", "onedl-mmdetection"}, "onedl"),
        ({"mmcv", "onedl-mmengine"}, "mixed"),
        (set(), "none"),
    ],
)
def test_stack(installed: set[str], stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_env, "version_of", lambda name: "1" if name in installed else None)
    assert check_env.find_stack() == stack
    check = check_env.check_stack(stack)
    assert check.status == {"mixed": "fault", "none": "missing"}.get(stack, "ok")
    if stack == "mixed":
        assert re.search(r"pip uninstall -y .*\bonedl-mmengine\b", check.fix)


def test_only_faults_of_what_is_required_count() -> None:
    assert check_env.healthy([Check("onnx", "fault", "", required=False), Check("torch", "ok", "")])
    assert not check_env.healthy([Check("torch", "blocked", "needs numpy")])


def test_requirements_are_those_of_the_package() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for stack, packages in PACKAGES.items():
        assert set(packages.values()) <= set(project["optional-dependencies"][stack])
    torch = next(p for p in PROBES if p.name == "torch")
    assert torch.package in project["dependencies"]
