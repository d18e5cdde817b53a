"""Markdown tables: whole, or line by line as their rows are measured."""

from collections.abc import Iterable, Sequence


def row(cells: Iterable[str]) -> str:
    """A line of cells."""
    return f"| {' | '.join(cells)} |"


def head(titles: Sequence[str]) -> str:
    """Headings, and the rule below them."""
    return f"{row(titles)}\n|{'---|' * len(titles)}"


def table(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A whole table, without a newline at its end."""
    return "\n".join(map(row, [titles, ["---"] * len(titles), *rows]))
