"""MkDocs hook: links of the docs to other files of the repository hold in the built site, too.

A page may link to what lies beside `docs/`, as on a code host. Of these, :data:`PAGES` become pages
of the site; any other file goes as it is into its folder ``source``. The README has its place at
the home page. In docstrings, roles in front of code (``:class:``) are left out.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PLACES = {**PAGES, "README.md": "index.md"}
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=<code>)")
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)(?P<path>[^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and the linked files that do not lie in ``docs/``."""
    for name, uri in PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / name).read_text()))
    for name in sorted({n for page in files.documentation_pages() for n in _outside(page)}):
        file = File.generated(config, f"source/{name}", abs_src_path=str(ROOT / name))
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Point each link to where its file is in the site."""
    uri = page.file.src_uri

    def place(found: "re.Match[str]") -> str:
        name = _name(uri, found["path"])
        if name.startswith("docs/"):
            target = name.removeprefix("docs/")
        elif name in PLACES or (ROOT / name).is_file():
            target = PLACES.get(name, f"source/{name}")
        else:
            return found["path"]  # MkDocs says that it leads nowhere
        return posixpath.relpath(target, posixpath.dirname(uri) or ".")

    return LINK.sub(place, markdown)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Take the roles out."""
    return ROLE.sub("", html)


def _outside(page: File) -> Iterator[str]:
    """Files beside ``docs/`` that a page links to, but those that have a page."""
    for found in LINK.finditer(page.content_string):
        name = _name(page.src_uri, found["path"])
        if not name.startswith("docs/") and name not in PLACES and (ROOT / name).is_file():
            yield name


def _name(uri: str, link: str) -> str:
    """The file in the repository that a page's link means."""
    sources = {page: name for name, page in PAGES.items()}
    here = sources.get(uri, f"docs/{uri}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
