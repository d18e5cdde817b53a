import base64
import hashlib
import re

from mmptq.webpage import base_style, html_page
from tests.webpage.parsed import Page


def policy(text):
    (content,) = [a["content"] for a in Page(text).all("meta") if "http-equiv" in a]
    return content


def test_only_its_own_style_and_script_are_admitted():
    text = html_page("a", "<p>b</p>", "p { color: red }", "let x;")
    for tag in ("script", "style"):
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy(text)
    assert policy(text).startswith("default-src 'none';") and "img-src" not in policy(text)


def test_without_script_none_is_admitted():
    text = html_page("a", "b", "", pictures=True)
    assert "script" not in text
    assert "img-src data:" in policy(text)


def test_the_title_is_text():
    assert Page(html_page("<b>&", "x", "")).all("b") == []


def test_the_style_loads_nothing():
    assert not re.search(r"@import|url\(", base_style())
