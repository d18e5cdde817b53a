import sys
from pathlib import Path

import mmcv_state
import pytest


def test_python_that_mmcv_does_not_build_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    assert "Python 3.10 to 3.12" in (mmcv_state.find_obstacle("upstream") or "")


def test_two_stacks_in_one_environment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmcv_state, "version_of", {"mmcv": "2.1.0"}.get)
    assert "uninstall -y mmcv" in (mmcv_state.find_obstacle("onedl") or "")


def test_version_outside_the_requirement_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmcv_state, "version_of", {"mmcv": "2.2.0", "onedl-mmcv": "2.3.6"}.get)
    assert not mmcv_state.fits("mmcv==2.1.0")
    assert mmcv_state.fits(mmcv_state.STACKS["onedl"][1])


def test_torch_that_mmptq_would_replace_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmcv_state, "version_of", {"torch": "2.5.1+cpu"}.get)
    obstacle = mmcv_state.find_obstacle("upstream") or ""
    assert "torch 2.5.1+cpu is too old" in obstacle
    assert obstacle.endswith("install 'torch>=2.6'")


def test_torch_is_the_packages() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert f'"{mmcv_state.TORCH}"' in pyproject.read_text()
