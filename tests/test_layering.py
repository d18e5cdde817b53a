"""Imports point down only; no cycles; no print; no unsafe loading. Checked on the source text."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mmptq"

# From the top down: each may import what stands after it.
LAYERS = (
    "cli",
    "apis",
    "runner",
    "hooks",
    "algorithms",
    "engine",
    "engine.units",
    "engine.incremental",
    "engine.context",
    "engine.data",
    "engine.storage",
    "adapters",
    "models",
    "modules",
    "quantizers",
    "observers",
    "ops",
    "structures",
    "registry",
    "fileio",
    "errors",
)
# Beside the layers: what each may import, and which layers may import it.
BESIDE = {
    "evaluation": (
        LAYERS[LAYERS.index("adapters") :],
        ("cli", "apis", "runner", "hooks", "algorithms", "engine.context"),
    ),
    "datasets": (("structures", "registry", "fileio", "errors"), ("runner",)),
    "classifiers": (LAYERS[LAYERS.index("modules") :], ("apis",)),
    "recommenders": (LAYERS[LAYERS.index("modules") :], ("adapters", "runner")),
    "analysis": (LAYERS[LAYERS.index("algorithms") :], ("cli", "runner")),
    "targets": (("errors",), ("cli", "apis", "runner", "models")),
    # Runs without torch: errors are all that it may know.
    "runtime": (("errors",), ("cli", "runner")),
    "webpage": ((), ("cli",)),
    "leaderboard": (("evaluation", "models", "webpage", "fileio", "errors"), ("cli",)),
    "report": (
        ("algorithms", "engine.storage", "evaluation", "webpage", "fileio", "errors"),
        ("cli", "hooks"),
    ),
    "export": (
        (*LAYERS[LAYERS.index("engine") :], "evaluation", "recommenders", "runtime", "targets"),
        ("cli", "apis", "runner"),
    ),
}


def module_name(path: Path, root: Path) -> str:
    """``mmptq/models/plan.py`` -> ``mmptq.models.plan``; a package by its own name."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_sources(root: Path) -> dict[str, str]:
    return {module_name(path, root): path.read_text() for path in sorted(root.rglob("*.py"))}


def imports(module: str, source: str, modules: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """``(module of mmptq, line)`` of every import, wherever it stands in the file."""
    is_package = any(name.startswith(f"{module}.") for name in modules)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")
                above = above[: len(above) - node.level + is_package]
                base = ".".join([*above, *filter(None, [base])])
            # `from mmptq.models import plan` imports the submodule where there is one.
            names = [
                full if (full := f"{base}.{alias.name}") in modules else base
                for alias in node.names
            ]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] == "mmptq")


def layer_of(module: str) -> str | None:
    """``models`` of ``mmptq.models.plan``, or a room of ``engine``; the package has none."""
    parts = module.split(".")
    if len(parts) < 2:
        return None
    room = ".".join(parts[1:3])
    return room if room in LAYERS else parts[1]


def may_import(layer: str | None, target: str | None) -> bool:
    if target is None or layer == target:
        return True
    if layer is None:
        return False  # mmptq/__init__.py stays empty, so that `import mmptq` is cheap
    if layer in BESIDE:
        return target in BESIDE[layer][0]
    if target in BESIDE:
        return layer in BESIDE[target][1]
    if layer not in LAYERS or target not in LAYERS:
        return False
    return LAYERS.index(layer) < LAYERS.index(target)


def upward_imports(sources: Mapping[str, str]) -> list[str]:
    return [
        f"{module}:{line} imports {target}"
        for module, source in sources.items()
        for target, line in imports(module, source, sources)
        if not may_import(layer_of(module), layer_of(target))
    ]


def unknown_layers(sources: Mapping[str, str]) -> set[str]:
    layers = {layer_of(module) for module in sources} - {None}
    return {layer for layer in layers if layer and layer not in (*LAYERS, *BESIDE)}


def cycles(sources: Mapping[str, str]) -> list[list[str]]:
    """Import cycles between files; a package's ``__init__`` may gather its own files."""
    edges = {
        module: {
            target
            for target, _ in imports(module, source, sources)
            if target in sources
            and target != module
            and not module.startswith(f"{target}.")
            and not target.startswith(f"{module}.")
        }
        for module, source in sources.items()
    }
    found, done = [], set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
            return
        if module in done:
            return
        for target in sorted(edges[module]):
            visit(target, [*path, module])
        done.add(module)

    for module in edges:
        visit(module, [])
    return found


def forbidden_calls(sources: Mapping[str, str]) -> list[str]:
    """``print``, pickle, and ``torch.load`` without ``weights_only``."""
    found = []
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            reason = _forbidden(node)
            if reason:
                found.append(f"{module}:{node.lineno} {reason}")  # type: ignore[attr-defined]
    return found


def _forbidden(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names]
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
        bad = {m.split(".")[0] for m in modules} & {"pickle", "cPickle", "dill", "cloudpickle"}
        return f"imports {', '.join(bad)}" if bad else None
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    if called == "print":
        return "calls print"
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if given.get("weights_only") == "False":
        return "loads with weights_only=False"
    if called == "torch.load" and given.get("weights_only") != "True":
        return "calls torch.load without weights_only=True"
    return None


# --- the package --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    sources = read_sources(PACKAGE)
    assert {"mmptq", "mmptq.ops", "mmptq.models.plan"} <= set(sources)
    return sources


def test_every_package_has_its_layer(sources: dict[str, str]) -> None:
    assert unknown_layers(sources) == set()


def test_imports_point_down(sources: dict[str, str]) -> None:
    assert upward_imports(sources) == []


def test_no_import_cycles(sources: dict[str, str]) -> None:
    assert cycles(sources) == []


def test_no_print_no_pickle_no_unsafe_load(sources: dict[str, str]) -> None:
    assert forbidden_calls(sources) == []


def test_tools_load_safely_too() -> None:
    tools = read_sources(ROOT / "tools")
    assert [call for call in forbidden_calls(tools) if "calls print" not in call] == []


# --- the checker itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mmptq.ops", "from mmptq.models.plan import Plan"),
        ("mmptq.ops", "import mmptq.quantizers"),
        ("mmptq.modules.layer", "def f():\n    from mmptq.models import plan"),
        ("mmptq.modules.layer", "if TYPE_CHECKING:\n    from mmptq.models.plan import Plan"),
        ("mmptq.modules.layer", "from ..models import plan"),
        ("mmptq.modules.layer", "from ..models.plan import Plan"),
        ("mmptq.observers.base", "from mmptq.quantizers import UniformQuantizer"),
        ("mmptq.models.plan", "from mmptq.evaluation.cost import cost"),
        ("mmptq.datasets.digits", "from mmptq.models import Plan"),
        ("mmptq.evaluation.cost", "from mmptq.runner import CalibrationRunner"),
        ("mmptq", "from mmptq.errors import ConfigError"),
        ("mmptq.newcomer", "from mmptq.errors import ConfigError"),
        ("mmptq.engine.storage.store", "from mmptq.engine.data.collect import collect_statistics"),
        ("mmptq.engine.incremental.front", "from mmptq.engine.units.front import Front"),
        ("mmptq.engine.data.collect", "from mmptq.engine import CalibrationContext"),
    ],
)
def test_an_upward_import_is_found(module: str, source: str) -> None:
    others = ("mmptq.models.plan", "mmptq.models", "mmptq.modules", "mmptq.errors")
    sources = {**dict.fromkeys(others, ""), module: source}
    (message,) = upward_imports(sources)
    assert message.startswith(f"{module}:")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mmptq.models.plan", "from mmptq.modules import QuantLayer\nfrom mmptq import ops"),
        ("mmptq.models.plan", "from .trace import Trace\nfrom ..errors import ConfigError"),
        ("mmptq.hooks.save", "from mmptq.evaluation import Results\nimport torch"),
        ("mmptq.evaluation.cost", "from mmptq.adapters import find_adapter"),
        ("mmptq.runner", "import mmptq"),
        ("mmptq.engine.units.front", "from mmptq.engine.incremental.call_graph import CallGraph"),
        ("mmptq.engine", "from mmptq.engine.units.units import Unit"),
    ],
)
def test_a_downward_import_is_not(module: str, source: str) -> None:
    sources = {"mmptq": "", "mmptq.ops": "", "mmptq.models.trace": "", module: source}
    assert upward_imports(sources) == []


def test_a_package_without_a_layer_is_found() -> None:
    assert unknown_layers({"mmptq.newcomer.file": "", "mmptq.ops": ""}) == {"newcomer"}


def test_a_cycle_is_found() -> None:
    ring = {
        "mmptq.models": "from mmptq.models.a import A",
        "mmptq.models.a": "from mmptq.models.b import B",
        "mmptq.models.b": "def f():\n    from mmptq.models import c",
        "mmptq.models.c": "from .a import A",
    }
    (cycle,) = cycles(ring)
    assert set(cycle) == {"mmptq.models.a", "mmptq.models.b", "mmptq.models.c"}
    assert cycles({**ring, "mmptq.models.c": ""}) == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f():\n    print('x')", "calls print"),
        ("import pickle", "imports pickle"),
        ("from pickle import load", "imports pickle"),
        ("torch.load(f)", "without weights_only"),
        ("torch.load(f, weights_only=flag)", "without weights_only"),
        ("load(f, weights_only=False)", "weights_only=False"),
    ],
)
def test_a_forbidden_call_is_found(source: str, reason: str) -> None:
    (message,) = forbidden_calls({"mmptq.x": source})
    assert reason in message


def test_an_allowed_call_is_not() -> None:
    source = "print_log('x')\nconsole.print(table)\ntorch.load(f, weights_only=True)\njson.load(f)"
    assert forbidden_calls({"mmptq.x": source}) == []
