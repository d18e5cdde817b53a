"""The documentation as a site: complete, without dead ends, and without the network."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tiny_project import REPO

DOCS = REPO / "docs"
# Pages that docs/repository_links.py makes of files of the repository.
GENERATED = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
TEXTS = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


class SiteLoader(yaml.SafeLoader):
    """Reads what MkDocs' own tags stand before as plain data."""


SiteLoader.add_multi_constructor("", lambda loader, suffix, node: None)


def settings() -> dict[str, Any]:
    return yaml.load((REPO / "mkdocs.yml").read_text(), SiteLoader)  # noqa: S506


def entries(nav: Any) -> Iterator[str]:
    """Pages of the navigation, depth first."""
    if isinstance(nav, str):
        yield nav
    for inner in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from entries(inner)


def anchors(text: str) -> set[str]:
    """Of a page's headings, as code hosts make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in plain}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.M | re.S)


def test_every_page_is_in_the_navigation_once():
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert sorted(entries(settings()["nav"])) == sorted([*pages, *GENERATED])
    assert all((REPO / name).exists() for name in GENERATED.values())


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: str(p.relative_to(REPO)))
def test_anchors_of_links_exist(page: Path):
    links = re.findall(r"\]\((?!\w+:)([^)#\s]*)#([^)\s]+)\)", without_code(page.read_text()))
    dead = []
    for path, anchor in links:
        target = (page.parent / path) if path else page
        if anchor not in anchors(target.read_text()):
            dead.append(f"{path}#{anchor}")
    assert not dead


def test_pictures_are_shown_and_small():
    shown = {
        (page.parent / name).resolve()
        for page in TEXTS
        for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text())
    }
    pictures = set((DOCS / "images").iterdir())
    assert pictures == shown
    assert not [p.name for p in pictures if p.stat().st_size > 150_000]


def test_the_tools_are_pinned():
    """So that a new release of one cannot break the build."""
    text = (REPO / "pyproject.toml").read_text()
    found = re.search(r"^docs = \[\n(.*?)^\]", text, re.M | re.S)
    assert found
    lines = found[1].split("\n")[:-1]
    assert lines and all(re.fullmatch(r' {4}"[\w-]+==[\w.]+",', line) for line in lines)


def interpreter() -> str | None:
    """A Python that has MkDocs: that of ``make docs``, or this one."""
    candidates = [REPO / ".venv-docs/bin/python", Path(sys.executable)]
    for python in candidates:
        command = [python, "-c", "import mkdocs, material, mkdocstrings"]
        if python.exists() and not subprocess.run(command, capture_output=True).returncode:
            return str(python)
    return None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = interpreter()
    if python is None:
        pytest.skip("MkDocs is not installed: make docs")
    folder = tmp_path_factory.mktemp("site")
    clone = folder / "clone"
    for name in ("docs", "mmptq", "examples"):
        shutil.copytree(REPO / name, clone / name, symlinks=True)
    for name in ("README.md", "mkdocs.yml", *GENERATED.values()):
        shutil.copy(REPO / name, clone)
    done = subprocess.run(
        [python, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder / "site")],
        cwd=clone,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_the_site_loads_nothing_from_the_network(site: Path):
    loads = r"<(?:script|img|iframe|source)[^>]+src=\"?(?:https?:)?//|<link[^>]+stylesheet[^>]+//"
    for page in site.rglob("*.html"):
        assert not re.search(loads, page.read_text()), page
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", styles)


def test_the_reference_is_made_from_the_docstrings(site: Path):
    page = (site / "api/quantize.html").read_text()
    assert 'id="mmptq.apis.quantize.quantize"' in page
    assert "Quantize a model after training, and measure it before and after." in page
    assert ":class:" not in (site / "api/steps.html").read_text()


def test_links_to_other_files_of_the_repository_hold(site: Path):
    assert 'href="../source/examples/quantize.ipynb"' in (site / "howto/python.html").read_text()
    assert (site / "source/examples/quantize.ipynb").is_file()
    reference = (site / "api/index.html").read_text()
    assert 'href="../contributing.html#where-something-new-goes"' in reference
