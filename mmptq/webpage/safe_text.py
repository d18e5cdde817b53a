"""Text that comes from data, made harmless for where it goes: a page, Markdown, a spreadsheet."""

import html
import os
import re
from pathlib import Path
from urllib.parse import quote

# Control characters, and those that turn the direction of what follows: they hide what a name is.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~!])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: object) -> str:
    """``text`` on one line, without characters that cannot be seen or stored."""
    clean = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(text))
    return clean.encode("utf-8", "replace").decode()


def for_html(text: object) -> str:
    """For the content of an element, or an attribute in quotes."""
    return html.escape(visible(text), quote=True)


def for_markdown(text: object) -> str:
    """For a cell of a table."""
    return _MARKDOWN.sub(r"\\\1", html.escape(visible(text), quote=False))


def for_csv(text: object) -> str:
    """For a cell with text, which a spreadsheet must not take for a formula."""
    clean = visible(text)
    return f"'{clean}" if clean.startswith(_FORMULA) and clean != "-" else clean


def link_to(path: Path, folder: Path) -> str:
    """Relative URL of ``path`` in a page that lies in ``folder``; never of another scheme."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # Windows has no way from one drive to another
        return path.absolute().as_uri()
    return "./" + quote(os.fsencode(Path(relative).as_posix()))
