"""benchmarks/docs_tables.py: the docs hold what the cells say."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from mmptq.errors import MmptqError
from tests.tiny_project import REPO

# Tables of settings: what stands in them is no figure.
SETTINGS = ("default", "published", "packages", "key")
GENERATED = ("families.md", "leaderboard.md")  # whole


@pytest.fixture(scope="module")
def docs_tables():
    import docs_tables

    return docs_tables


@pytest.fixture
def check(docs_tables, monkeypatch, tmp_path):
    """``--check`` on a copy of the docs."""
    shutil.copytree(REPO / "docs", tmp_path / "docs")
    shutil.copy(REPO / "README.md", tmp_path)
    monkeypatch.setattr(docs_tables, "ROOT", tmp_path)
    monkeypatch.setattr(docs_tables, "BOARD", tmp_path / "docs/leaderboard.md")
    monkeypatch.setattr(sys, "argv", ["docs_tables.py", "--check"])
    return docs_tables.main


def test_the_docs_are_up_to_date(check, capsys):
    check()
    assert "every table is up to date" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "old", "new"),
    [
        ("docs/results.md", "| RetinaNet | 35.4 |", "| RetinaNet | 35.5 |"),  # a choice of cells
        (
            "docs/start/which_recipe.md",
            "from 68.7 (MMSE) to 76.0",  # in prose
            "from 68.7 (MMSE) to 76.1",
        ),
        ("docs/results.md", "| l2.4 | 77.68 |", "| l2.4 | 77.69 |"),  # of older cells
        ("docs/results.md", "| MMSE | 0 | 58.5 |", "| MMSE | 0 | 58.6 |"),  # a benchmark's table
        ("docs/howto/analyze.md", "| 0.4843 |", "| 0.4844 |"),  # a record
        ("docs/leaderboard.md", "simulated | 57.1 |", "simulated | 57.2 |"),
    ],
)
def test_a_changed_number_fails_the_check(check, tmp_path, page, old, new):
    text = (tmp_path / page).read_text()
    assert old in text
    (tmp_path / page).write_text(text.replace(old, new, 1))
    with pytest.raises(MmptqError, match=f"these are stale:\n{page}$"):
        check()


def test_no_table_of_figures_is_written_by_hand(docs_tables):
    for page in [REPO / "README.md", *sorted(REPO.glob("docs/**/*.md"))]:
        text = docs_tables.BLOCK.sub("", page.read_text())
        for table in re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE):
            head = table.splitlines()[0]
            if page.name in GENERATED or any(word in head for word in SETTINGS):
                continue
            assert not re.search(r"\| *\**[+-]?\d+\.\d+[^|A-Za-z]*\|", table), f"{page}: {head}"


def test_a_hand_written_figure_is_overwritten_and_the_prose_stays(docs_tables):
    page = "before\n\n<!-- table: a -->\n| 99.9 |\n<!-- end -->\nafter\n"
    new = docs_tables.refreshed(page, Path("p.md"), {"a": "| 1.0 |\n"}.__getitem__)
    assert new == "before\n\n<!-- table: a -->\n\n| 1.0 |\n\n<!-- end -->\nafter\n"
    assert docs_tables.refreshed(new, Path("p.md"), {"a": "| 1.0 |\n"}.__getitem__) == new


def test_a_table_in_a_list_is_indented_like_its_marker(docs_tables):
    page = "- item\n\n  <!-- table: a -->\n  <!-- end -->\n"
    new = docs_tables.refreshed(page, Path("p.md"), {"a": "| 1.0 |\n"}.__getitem__)
    assert new == "- item\n\n  <!-- table: a -->\n\n  | 1.0 |\n\n  <!-- end -->\n"
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
    with pytest.raises(MmptqError, match=r"table: nosuch .*methods_demo.*lapq_cost.*capture"):
        docs_tables.table("nosuch")


def test_every_table_that_is_told_stands_on_a_page(docs_tables):
    told = {*docs_tables.COMMANDS, *docs_tables.GRIDS}
    told |= {name for name, record in docs_tables.records().items() if "rows" in record}
    texts = [page.read_text() for page in (REPO / "README.md", *REPO.glob("docs/**/*.md"))]
    tables = {name for text in texts for name in re.findall(r"<!-- table: (.+?) -->", text)}
    figures = {name for text in texts for name in re.findall(r"<!-- figures: (.+?) -->", text)}
    assert tables == told
    assert figures == set(docs_tables.FIGURES)
