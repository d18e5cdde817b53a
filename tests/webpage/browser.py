"""A page in headless Chromium: a script is run beside it, and what it writes is read."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(NAMES)} is here")

# The page runs in a frame of any width, as a window cannot be as narrow as a phone.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" {sandbox} style="width:{width}px;height:900px;border:0" srcdoc="{page}"></iframe>
<pre id="found">nothing</pre>
<script>
document.getElementById("page").addEventListener("load", () => {{
  const view = document.getElementById("page").contentWindow, page = view.document;
  const all = (query) => [...page.querySelectorAll(query)];
  const one = (query) => page.querySelector(query);
  const methods = () => all("tbody tr:not([hidden])").map((row) => row.cells[0].textContent);
  let found;
  try {{ found = (() => {{ {script} }})(); }} catch (error) {{ found = String(error.stack); }}
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


def chromium(*arguments: str) -> str:
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_page(
    folder: Path, page: str, script: str, width: int = 1200, javascript: bool = True
) -> Any:
    """What ``script`` returns when the page has loaded.

    Args:
        folder: For files.
        page: HTML.
        script: The body of a function, with ``page`` (its document), ``view`` (its window),
            ``all``, ``one`` and ``methods`` (of the rows that are seen).
        width: Of the page, in pixels.
        javascript: Whether the page's own script may run.
    """
    sandbox = "" if javascript else 'sandbox="allow-same-origin"'
    frame = FRAME.format(sandbox=sandbox, width=width, page=html.escape(page), script=script)
    path = folder / "frame.html"
    path.write_text(frame, encoding="utf-8")
    size = f"--window-size={max(width, 600)},900"
    dom = chromium(size, "--virtual-time-budget=4000", "--dump-dom", path.as_uri())
    text = re.search(r'<pre id="found">(.*?)</pre>', dom, re.S)
    assert text is not None, dom[-2000:]
    return json.loads(html.unescape(text[1]))
