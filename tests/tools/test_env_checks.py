"""tools/env_checks.py in environments that are broken in one place."""

import re
from pathlib import Path

import env_checks
import pytest
from env_checks import Check, run_probe, settle_blocked
from env_probes import PROBES, Probe


def probe(name: str) -> Probe:
    return next(p for p in PROBES if p.name == name)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a module in the way of the real one: its import runs the given code."""

    def put(module: str, code: str) -> None:
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


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
    assert not env_checks.healthy(settled)


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
    monkeypatch.setattr(env_checks, "version_of", lambda name: "1" if name in installed else None)
    assert env_checks.find_stack() == stack
    check = env_checks.check_stack(stack)
    assert check.status == {"mixed": "fault", "none": "missing"}.get(stack, "ok")
    if stack == "mixed":
        assert re.search(r"pip uninstall -y .*\bonedl-mmengine\b", check.fix)


def test_only_faults_of_what_is_required_count() -> None:
    assert env_checks.healthy(
        [Check("onnx", "fault", "", required=False), Check("torch", "ok", "")]
    )
    assert not env_checks.healthy([Check("torch", "blocked", "needs numpy")])
