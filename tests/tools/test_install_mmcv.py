"""The installer against a stand-in for pip: what it does when the kept wheel does not fit."""

import importlib.machinery
import importlib.util
import io
import sys
from pathlib import Path

import install_mmcv
import pytest
from mmcv_build_log import Display

# Plays pip: notes its arguments; `install` makes site/mmcv as the next line of `plan` says.
FAKE_PIP = """
import pathlib, shutil, sys
here = pathlib.Path(__file__).parents[1]
with (here / "calls").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "install":
    first, *rest = (here / "plan").read_text().splitlines()
    (here / "plan").write_text("\\n".join(rest))
    if first == "fail":
        print("  [1/77] c++ -c nms.cpp -o nms.o")
        print("c++: fatal error: Killed signal terminated program cc1plus")
        sys.exit(1)
    if first == "build":
        print("  building 'mmcv._ext' extension")
        print("  [77/77] c++ -c nms.cpp -o nms.o")
        shutil.copy({operators!r}, here / "mmcv")
    print("Successfully installed mmcv-2.1.0")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in front of all others on new processes' path; holds the fake pip and an mmcv
    without operators."""
    spec = importlib.util.find_spec("mmcv")
    assert spec is not None and spec.origin is not None
    operators = next(Path(spec.origin).parent.glob("_ext.*"))
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text(
        FAKE_PIP.replace("{operators!r}", repr(str(operators)))
    )
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def install(site: Path, plan: str, force: bool = False) -> tuple[int, str, list[str]]:
    (site / "plan").write_text(plan)
    stream = io.StringIO()
    status = install_mmcv.install("upstream", force, site / "log", Display(stream))
    calls = (site / "calls").read_text().splitlines() if (site / "calls").exists() else []
    return status, stream.getvalue(), calls


def test_nothing_to_do_where_the_operators_load() -> None:
    stream = io.StringIO()
    assert install_mmcv.install("upstream", False, Path("unused"), Display(stream)) == 0
    assert "nothing to do" in stream.getvalue()


def test_wheel_without_operators_is_dropped_and_built_anew(site: Path) -> None:
    assert install_mmcv.operators_state() == "no-operators"
    status, text, calls = install(site, "cached\nbuild")
    assert status == 0
    assert "does not fit here (no-operators): building it anew" in text
    assert [call.split()[0] for call in calls] == ["install", "cache", "install"]
    assert calls[1] == "cache remove mmcv-2.1.0"
    assert all(flag in calls[0] for flag in ("--no-build-isolation", "--no-deps", "mmcv==2.1.0"))


def test_operators_that_do_not_load_are_told_from_missing_ones(site: Path) -> None:
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (site / "mmcv" / f"_ext{suffix}").write_bytes(b"not a library")
    assert install_mmcv.operators_state().startswith("broken: ImportError")
    status, text, _ = install(site, "cached\nbuild")
    assert status == 0
    assert "broken: ImportError" in text


def test_fresh_build_that_does_not_load_is_not_repeated(site: Path) -> None:
    install_script = site / "pip" / "__main__.py"
    install_script.write_text(install_script.read_text().replace("shutil.copy", "print"))
    status, text, calls = install(site, "build\nbuild")
    assert status == 1
    assert len(calls) == 1
    assert "do not load (no-operators)" in text


def test_failure_shows_the_log_and_the_fix(site: Path) -> None:
    status, text, _ = install(site, "fail")
    assert status == 1
    assert "fatal error: Killed signal" in text
    assert "likely fix: the compiler ran out of memory: MAX_JOBS=1" in text
    assert "fatal error: Killed signal" in (site / "log").read_text()


def test_force_drops_the_kept_wheel_first(site: Path) -> None:
    status, _, calls = install(site, "build", force=True)
    assert status == 0
    assert [call.split()[0] for call in calls] == ["cache", "install"]


def test_obstacles_are_named_before_any_work(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_mmcv, "_importable", lambda module: module != "torch")
    status, text, calls = install(site, "build")
    assert (status, calls) == (1, [])
    assert "torch is missing" in text
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    assert "Python 3.10 to 3.12" in (install_mmcv.find_obstacle("upstream") or "")


def test_two_stacks_in_one_environment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_mmcv, "version_of", {"mmcv": "2.1.0"}.get)
    assert "uninstall -y mmcv" in (install_mmcv.find_obstacle("onedl") or "")


def test_version_outside_the_requirement_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_mmcv, "version_of", {"mmcv": "2.2.0", "onedl-mmcv": "2.3.6"}.get)
    assert not install_mmcv._fits("mmcv==2.1.0")
    assert install_mmcv._fits(install_mmcv.STACKS["onedl"][1])
