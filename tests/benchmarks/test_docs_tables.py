"""benchmarks/docs_tables.py: the docs hold what the cells say."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmptq.errors import MmptqError
from tests.tiny_project import REPO


@pytest.fixture
def docs_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    import docs_tables

    return docs_tables


def test_the_docs_are_up_to_date():
    command = [sys.executable, REPO / "benchmarks/docs_tables.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr


def test_a_hand_written_figure_is_overwritten_and_the_prose_stays(docs_tables):
    page = "before\n\n<!-- table: a -->\n| 99.9 |\n<!-- end -->\nafter\n"
    new = docs_tables.refreshed(page, Path("p.md"), {"a": "| 1.0 |\n"}.__getitem__)
    assert new == "before\n\n<!-- table: a -->\n\n| 1.0 |\n\n<!-- end -->\nafter\n"
    assert docs_tables.refreshed(new, Path("p.md"), {"a": "| 1.0 |\n"}.__getitem__) == new


@pytest.mark.parametrize(
    "page",
    [
        "<!-- table: a -->\nno end\n",
        "<!-- end -->\n",
        "<!-- table: a -->\n<!-- table: b -->\n<!-- end -->\n<!-- end -->\n",
    ],
)
def test_a_marker_without_its_partner_is_named(docs_tables, page):
    with pytest.raises(MmptqError, match=r"p\.md: .*write one of each"):
        docs_tables.refreshed(page, Path("p.md"), str)


def test_an_unknown_table_is_named_with_those_there_are(docs_tables):
    with pytest.raises(MmptqError, match=r"table: nosuch .*bccd_observers.*capture"):
        docs_tables.table("nosuch")
