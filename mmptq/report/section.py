"""The parts that a report is made of: sections, tables, bars, lists of terms."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmptq.evaluation.result_table import NOTHING, Column
from mmptq.webpage import for_html

_LONG = 24  # characters of a cell that may be broken
_LONGEST_TITLE = 160


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Args:
        key: Its id.
        title: Its heading; a very long one is cut.
        html: What stands below.
    """

    key: str
    title: str
    html: str

    @property
    def heading(self) -> str:
        """The title as HTML."""
        return for_html(shortened(self.title))

    def to_html(self) -> str:
        """With its heading."""
        return f'<section id="{self.key}">\n<h2>{self.heading}</h2>\n{self.html}\n</section>'


@dataclass(frozen=True)
class Bars:
    """A column of bars beside their texts.

    Args:
        title: Heading.
        values: Lengths; the largest finite one fills the cell, as does what is not finite.
        texts: What they say.
    """

    title: str
    values: Sequence[float]
    texts: Sequence[str]

    def cells(self) -> list[str]:
        """HTML of each cell."""
        finite = [value for value in self.values if math.isfinite(value) and value > 0]
        largest = max(finite, default=1.0)
        return [
            f"<span>{for_html(text)}</span>{_bar(value / largest)}"
            for value, text in zip(self.values, self.texts, strict=True)
        ]


def table(columns: Sequence[Column | Bars], looks: Sequence[str] = (), caption: str = "") -> str:
    """A table that scrolls by itself, and whose rows are cards on a phone.

    Args:
        columns: The first one names the rows.
        looks: Class of each row: ``best``, ``base`` or nothing.
        caption: For those who hear the page.
    """
    titles = [for_html(column.title) for column in columns]
    # What is a bar's stands left, where bars begin.
    numeric = [isinstance(column, Column) and column.numeric for column in columns]
    head = "".join(
        f'<th scope="col" class="{"n" if n else ""}">{title}</th>'
        for title, n in zip(titles, numeric, strict=True)
    )
    cells = [_cells(column, title) for column, title in zip(columns, titles, strict=True)]
    rows = list(zip(*cells, strict=True))
    looks = looks or [""] * len(rows)
    body = "\n".join(
        f'<tr class="{look}">{"".join(row)}</tr>' for look, row in zip(looks, rows, strict=True)
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{for_html(caption)}">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cells(column: Column | Bars, title: str) -> list[str]:
    label = f'data-label="{title}"'
    if isinstance(column, Bars):
        return [f'<td class="bars" {label}>{cell}</td>' for cell in column.cells()]
    return [
        f'<td class="{_look(text, column.numeric)}" {label}>{for_html(text)}</td>'
        for text in column.cells
    ]


def _look(text: str, numeric: bool) -> str:
    look = "n" if numeric else "long" if len(text) > _LONG else ""
    return f"{look} none".strip() if text in (NOTHING, "") else look


def _bar(share: float) -> str:
    width = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 100.0
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="8"/></svg>'
    )


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and what is said of them, which is HTML; what is empty is left out."""
    listed = "".join(f"<dt>{for_html(term)}</dt><dd>{said}</dd>" for term, said in pairs if said)
    return f"<dl>{listed}</dl>" if listed else ""


def folded(title: str, content: str) -> str:
    """``content``, HTML, that unfolds on a click; on paper it is whole."""
    return f"<details><summary>{for_html(title)}</summary>{content}</details>"


def paragraph(content: str, look: str = "") -> str:
    """Text as a paragraph of class ``look``."""
    return f'<p class="{look}">{for_html(content)}</p>' if look else f"<p>{for_html(content)}</p>"


def shortened(title: str) -> str:
    """A title of a length that a page can bear."""
    return title if len(title) <= _LONGEST_TITLE else f"{title[:_LONGEST_TITLE]}..."


def preformatted(content: str, most: int) -> str:
    """Text with its lines, the first ``most`` characters."""
    left_out = len(content) - most
    note = paragraph(f"{left_out:,} more characters are in the file.", "note")
    lines = "\n".join(for_html(line) for line in content[:most].splitlines())
    return f"<pre>{lines}</pre>{note if left_out > 0 else ''}"
