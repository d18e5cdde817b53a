import html
from pathlib import Path

import pytest

from mmptq.webpage import for_csv, for_html, for_markdown, link_to, visible

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)//",
    "javascript:alert(1)",
    "a\x00b\u202ec",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_html_is_text_and_says_the_same(text):
    safe = for_html(text)
    assert not set(safe) & set("<>\"'")
    assert html.unescape(safe) == visible(text)
    safe.encode()


@pytest.mark.parametrize("text", [*HOSTILE, "[x](javascript:alert(1))", "a|b", "`x`", "a\nb"])
def test_markdown_is_text(text):
    safe = for_markdown(text)
    assert "<" not in safe and "\n" not in safe
    for sign in "|[]`":
        assert safe.count(sign) == safe.count(f"\\{sign}")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x"])
def test_a_spreadsheet_gets_no_formula(text):
    assert for_csv(text) == f"'{text}"
    assert for_csv("-") == "-"


def test_links_stay_paths(tmp_path):
    assert link_to(tmp_path / "javascript:alert(1)", tmp_path) == "./javascript%3Aalert%281%29"
    assert link_to(tmp_path / "a b/c#d?.jpg", tmp_path) == "./a%20b/c%23d%3F.jpg"
    assert link_to(tmp_path / "x", tmp_path / "board") == "./../x"
    assert link_to(Path("//evil.example/x"), Path("/y")).startswith("./")
