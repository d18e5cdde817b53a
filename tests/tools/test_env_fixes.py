"""tools/env_fixes.py installs what the package asks for."""

import pytest
from env_fixes import PACKAGES
from env_probes import PROBES

from tests.tiny_project import REPO


def test_requirements_are_those_of_the_package() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    for stack, packages in PACKAGES.items():
        assert set(packages.values()) <= set(project["optional-dependencies"][stack])
    torch = next(p for p in PROBES if p.name == "torch")
    assert torch.package in project["dependencies"]
