"""The frame of a page that needs no network and in which nothing of data can run."""

import base64
import hashlib
from importlib import resources

from mmptq.webpage.safe_text import for_html


def html_page(title: str, body: str, style: str, script: str = "", pictures: bool = False) -> str:
    """A whole document.

    Its policy (CSP) admits this style and this script alone, by their hashes, and no forms.

    Args:
        title: Text.
        body: HTML in which all that comes from data went through :func:`for_html`.
        style: CSS, all of the page's: an attribute ``style`` has no effect.
        script: JavaScript; the page must be complete without it.
        pictures: Whether ``body`` holds pictures, as ``data:`` URLs.
    """
    allowed = [f"style-src {_hash(style)}"]
    allowed += [f"script-src {_hash(script)}"] if script else []
    allowed += ["img-src data:"] if pictures else []
    policy = f"default-src 'none'; {'; '.join(allowed)}; base-uri 'none'; form-action 'none'"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{for_html(title)}</title>\n<style>{style}</style>\n</head>\n<body>",
            body,
            *([f"<script>{script}</script>"] if script else []),
            "</body>\n</html>\n",
        ]
    )


def base_style() -> str:
    """The CSS that pages share: colours by day and night, tables, plots, phones, paper."""
    return own_file("mmptq.webpage", "base.css")


def own_file(package: str, name: str) -> str:
    """A text file that comes with ``package``."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
