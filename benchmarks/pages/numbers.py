"""The numbers of a paragraph, in their order, from the cells.

A paragraph, or an item of a list, that ends with ``<!-- figures: NAME -->`` has the numbers that
``figures.FIGURES[NAME]`` gives, in their order; None leaves a number as it stands: a count of
images, a year. What is in code, in the target of a link or part of a word (W4A4) is no number.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mmptq.errors import MmptqError

Figures = Callable[[], Sequence[str | None]]

MARK = re.compile(r"<!-- figures: (\w+) -->")
# Where a paragraph or an item begins: behind an empty line, a mark, or at the sign of an item.
START = re.compile(r"\n[ ]*\n|^[ ]*- |<!-- .+? -->", re.MULTILINE)
NUMBER = re.compile(
    r"(?P<no>`[^`]*`|\]\([^)]*\))|(?<![\w.+-])(?P<number>[+-]?\d+(?:\.\d+)?)(?!\w|\.\d|-[A-Za-z])"
)


def refreshed(text: str, page: Path, figures: dict[str, Figures]) -> str:
    """``text`` with the numbers of every marked paragraph made anew.

    Raises:
        MmptqError: A mark's name is not known, or its paragraph has more or fewer numbers.
    """
    done, rest = "", text
    while found := MARK.search(rest):
        starts = [start.end() for start in START.finditer(rest, 0, found.start())]
        begin = starts[-1] if starts else 0
        place = f"{page}: <!-- figures: {found[1]} -->"
        if found[1] not in figures:
            raise MmptqError(f"{place}: no such figures; there are {', '.join(figures)}")
        paragraph = rest[begin : found.start()]
        done += rest[:begin] + replaced(paragraph, figures[found[1]](), place) + found[0]
        rest = rest[found.end() :]
    return done + rest


def replaced(paragraph: str, figures: Sequence[str | None], place: str) -> str:
    """``paragraph`` with these numbers in place of its own."""
    numbers = [found["number"] for found in NUMBER.finditer(paragraph) if found["number"]]
    if len(numbers) != len(figures):
        raise MmptqError(
            f"{place}: {len(numbers)} numbers stand there ({', '.join(numbers)}), {len(figures)} "
            "in benchmarks/pages/figures.py: bring one to the other, None for what is no figure"
        )
    left = iter(figures)

    def new(found: "re.Match[str]") -> str:
        return found[0] if found["no"] else next(left) or found["number"]

    return NUMBER.sub(new, paragraph)
