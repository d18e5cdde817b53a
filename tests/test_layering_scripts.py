"""Imports of tools/ and benchmarks/: nothing imports a command, and what must be light is light."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What benchmarks share: imports no benchmark.
SHARED = (
    "arguments",
    "cells",
    "given_config",
    "markdown_table",
    "peak_memory",
    "random_images",
    "refresh",
    "silence",
    "timing",
)


def imported(path: Path, everywhere: bool = False) -> set[str]:
    """Modules that a file imports when it is imported itself, or anywhere in it."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
    return found


def reached(path: Path, folder: Path) -> Iterator[str]:
    """Modules outside of ``folder`` that a file of it needs, those of its own files included."""
    seen, left = set(), [path]
    while left:
        for name in imported(left.pop()):
            own = folder / f"{name.replace('.', '/')}.py"
            if not own.exists():
                yield name
            elif own not in seen:
                seen.add(own)
                left.append(own)


@pytest.mark.parametrize("tool", ["check_env", "install_mmcv"])
def test_what_mends_an_environment_needs_nothing_installed(tool: str) -> None:
    tools = ROOT / "tools"
    needed = set(reached(tools / f"{tool}.py", tools))
    assert {name for name in needed if name.split(".")[0] not in sys.stdlib_module_names} == set()


@pytest.mark.parametrize("script", ["runtime_worker", "peers/toolkits"])
def test_processes_whose_memory_is_measured_import_no_torch(script: str) -> None:
    folder = ROOT / "benchmarks"
    needed = set(reached(folder / f"{script}.py", folder))
    third = {n for n in needed if n.split(".")[0] not in sys.stdlib_module_names}
    # numpy, and the layers of mmptq that run without torch.
    assert third <= {"numpy", "numpy.typing", "mmptq.errors", "mmptq.runtime"}


@pytest.mark.parametrize("name", SHARED)
def test_what_benchmarks_share_imports_no_benchmark(name: str) -> None:
    folder = ROOT / "benchmarks"
    scripts = {path.stem for path in folder.glob("*.py")} - set(SHARED)
    found = {module.split(".")[0] for module in imported(folder / f"{name}.py", everywhere=True)}
    assert found & scripts == set()


def test_the_package_imports_no_script() -> None:
    scripts = {path.stem for folder in ("tools", "benchmarks") for path in ROOT.glob(f"{folder}/*")}
    scripts -= {path.stem for path in (ROOT / "mmptq").iterdir()} | {"__pycache__"}
    scripts |= {"tools", "benchmarks", "tests"}
    for path in sorted((ROOT / "mmptq").rglob("*.py")):
        found = {module.split(".")[0] for module in imported(path, everywhere=True)}
        assert found & scripts == set(), path


# --- the checker itself ---------------------------------------------------------------------------


def test_imports_are_followed_through_files_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("import json\nfrom sub.b import f\n")
    (tmp_path / "sub/b.py").write_text("import a\nimport torch.nn\ndef f():\n    import rich\n")
    assert set(reached(tmp_path / "a.py", tmp_path)) == {"json", "torch.nn"}
    assert "rich" in imported(tmp_path / "sub/b.py", everywhere=True)
