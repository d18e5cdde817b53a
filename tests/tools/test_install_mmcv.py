"""The installer against a stand-in for pip: which wheel it takes, builds, keeps and drops."""

import importlib.machinery
import importlib.util
import io
import tarfile
from pathlib import Path

import install_mmcv
import pytest
from mmcv_build_log import Display
from mmcv_state import operators_state, version_of

# The other stack is in the way of this one.
STACK = "onedl" if version_of("onedl-mmcv") else "upstream"

# Plays pip. `download` brings sources, or the wheel in `offered`; `wheel` and `install` take the
# next line of `plan`: what an installed wheel brings (`operators`, `nothing`), or a build's end.
FAKE_PIP = """
import pathlib, shutil, sys
here = pathlib.Path(__file__).parents[1]
command, *arguments = sys.argv[1:]
with (here / "calls").open("a") as file:
    file.write(command + "\\n")

def next_of_plan():
    first, *rest = (here / "plan").read_text().splitlines()
    (here / "plan").write_text("\\n".join(rest))
    return first

if command == "download":
    offered = here / "offered"
    wheels = list(offered.glob("*.whl")) if "--no-binary" not in arguments else []
    target = pathlib.Path(arguments[arguments.index("-d") + 1])
    target.mkdir()
    shutil.copy(wheels[0] if wheels else here / "mmcv-2.1.0.tar.gz", target)
elif command == "wheel":
    units = list(pathlib.Path(arguments[2]).rglob("unit_*.cpp"))
    print("  building 'mmcv._ext' extension")
    end = next_of_plan()
    if end == "killed":
        print("c++: fatal error: Killed signal terminated program cc1plus")
        sys.exit(1)
    if end == "clash" and units:
        print("mmcv/ops/csrc/pytorch/nms.cpp.part:1:5: error: redefinition of 'f'")
        sys.exit(1)
    print(f"  [1/1] c++ -c {len(units)}_units.cpp -o unit.o")
    (pathlib.Path(arguments[1]) / "mmcv-2.1.0-built.whl").write_text("built")
elif command == "install":
    if next_of_plan() == "operators":
        shutil.copy({operators!r}, here / "mmcv")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in front of all others on new processes' path.

    It holds the fake pip, mmcv's sources and an installed mmcv without operators.
    """
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
    (tmp_path / "offered").mkdir()
    sources = {
        "setup.py": "args = ['-std=c++14']\n",
        "mmcv/ops/csrc/pytorch/nms.cpp": "int f() { return 0; }\n",
    }
    with tarfile.open(tmp_path / "mmcv-2.1.0.tar.gz", "w:gz") as archive:
        for name, text in sources.items():
            (tmp_path / "source").write_text(text)
            archive.add(tmp_path / "source", f"mmcv-2.1.0/{name}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MMPTQ_CACHE", str(tmp_path / "cache"))
    return tmp_path


def install(site: Path, *plan: str, force: bool = False) -> tuple[int, str, list[str]]:
    (site / "plan").write_text("\n".join(plan))
    (site / "calls").unlink(missing_ok=True)
    stream = io.StringIO()
    status = install_mmcv.install(STACK, force, site / "log", Display(stream))
    calls = (site / "calls").read_text().splitlines() if (site / "calls").exists() else []
    return status, stream.getvalue(), calls


def kept(site: Path) -> list[str]:
    return [path.name for path in (site / "cache").rglob("*.whl")]


def new_environment(site: Path) -> None:
    """Take the operators away, as in an environment that pip has not seen."""
    for path in (site / "mmcv").glob("_ext*"):
        path.unlink()


def test_nothing_to_do_where_the_operators_load() -> None:
    stream = io.StringIO()
    assert install_mmcv.install(STACK, False, Path("unused"), Display(stream)) == 0
    assert "nothing to do" in stream.getvalue()


def test_built_wheel_is_kept_for_the_next_environment(site: Path) -> None:
    assert operators_state() == "no-operators"
    status, text, calls = install(site, "built", "operators")
    assert (status, calls) == (0, ["download", "wheel", "install"])
    assert "compiling mmcv's operators once: about " in text
    assert "1_units.cpp" in (site / "log").read_text()
    assert kept(site) == ["mmcv-2.1.0-built.whl"]
    new_environment(site)
    status, text, calls = install(site, "operators")
    assert (status, calls) == (0, ["install"])
    assert "installing mmcv-2.1.0-built.whl" in text


def test_wheel_of_another_torch_is_not_taken(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "built", "operators")
    new_environment(site)
    monkeypatch.setattr("mmcv_wheels.torch_version", lambda: "1.0.0+cu99")
    assert install(site, "built", "operators")[2] == ["download", "wheel", "install"]
    assert len(kept(site)) == 2


def test_wheel_that_pip_finds_is_taken_if_its_operators_load(site: Path) -> None:
    (site / "offered" / "mmcv-2.1.0-found.whl").touch()
    assert install(site, "operators")[::2] == (0, ["download", "install"])
    new_environment(site)
    status, text, calls = install(site, "nothing", "built", "operators")
    assert (status, calls) == (0, ["download", "install", "download", "wheel", "install"])
    assert "this wheel does not fit here (no-operators): building it" in text


def test_kept_wheel_that_does_not_load_is_replaced(site: Path) -> None:
    install(site, "built", "operators")
    new_environment(site)
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (site / "mmcv" / f"_ext{suffix}").write_bytes(b"not a library")
    assert operators_state().startswith("broken: ImportError")
    status, text, calls = install(site, "nothing", "built", "operators")
    assert (status, calls) == (0, ["install", "download", "wheel", "install"])
    assert "does not fit here (broken: ImportError" in text


def test_sources_that_clash_when_joined_are_compiled_one_by_one(site: Path) -> None:
    status, text, calls = install(site, "clash", "clash", "operators")
    assert (status, calls) == (0, ["download", "wheel", "wheel", "install"])
    assert "do not compile when joined" in text
    assert "0_units.cpp" in (site / "log").read_text()


def test_build_that_does_not_load_is_neither_repeated_nor_kept(site: Path) -> None:
    status, text, calls = install(site, "built", "nothing")
    assert (status, calls) == (1, ["download", "wheel", "install"])
    assert "do not load (no-operators)" in text
    assert kept(site) == []


def test_failure_shows_the_log_and_the_fix(site: Path) -> None:
    status, text, calls = install(site, "killed")
    assert (status, calls) == (1, ["download", "wheel"])
    assert "The first errors:\n    c++: fatal error: Killed signal" in text
    assert "likely fix: the compiler ran out of memory: MAX_JOBS=1" in text
    assert "fatal error: Killed signal" in (site / "log").read_text()


def test_force_builds_whatever_is_there(site: Path) -> None:
    install(site, "built", "operators")
    (site / "offered" / "mmcv-2.1.0-found.whl").touch()
    status, _, calls = install(site, "built", "operators", force=True)
    assert (status, calls) == (0, ["download", "download", "wheel", "install"])


def test_full_disk_costs_only_the_kept_wheel(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "cache").write_text("a file where the folder should be")
    status, text, _ = install(site, "built", "operators")
    assert status == 0
    assert "could not be kept for later environments" in text


def test_obstacles_are_named_before_any_work(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcv_state.importable", lambda module: module != "torch")
    status, text, calls = install(site, "built")
    assert (status, calls) == (1, [])
    assert "torch is missing" in text
