"""Diagrams of the docs that show no figures: boxes and arrows."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from pages.svg import STYLE

WIDTH, BOX, ROW, HIGH, EDGE = 894, 402, 84, 58, 16
ANSWER = WIDTH - EDGE - BOX
OWN_STYLE = """
  .box { fill: none; stroke: #8c959f; stroke-width: 1.5 } .yes { stroke: #1a7f37 }
  .arrow { stroke: #8c959f; stroke-width: 1.5; fill: none }
  .name { font-family: ui-monospace, monospace; font-weight: 600 }
  @media (prefers-color-scheme: dark) { .yes { stroke: #3fb950 } }
"""


class Choice(NamedTuple):
    """One question, and the recipe of who says yes."""

    question: str
    detail: str
    recipe: str
    costs: str


CHOICES = (
    Choice(
        "8 bits are small enough",
        "W8A8: a quarter of the float size; CPUs compute with it",
        "mmse",
        "seconds, no labels; the default, gptq, is safer and takes minutes",
    ),
    Choice(
        "4-bit weights with 8-bit activations, or 6 bits",
        "W4A8, W6A6: an eighth to a fifth of the float size",
        "gptq",
        "the default; minutes, no labels",
    ),
    Choice(
        "4 bits, and more of them where they are needed",
        "a budget in MB, or in lost mAP",
        "mixed_gptq",
        "bits of each tensor; gptq and minutes more, reads labels",
    ),
    Choice(
        "4 bits everywhere",
        "W4A4: no recipe is the best on every model",
        "gptq, lapq, bitshrink_fast",
        "try all three and compare; minutes each",
    ),
    Choice(
        "2- or 3-bit weights",
        "ranges alone leave nothing at 2 bits",
        "bitshrink_fast, then bitshrink",
        "minutes; at its published size hours on a GPU; no labels",
    ),
)
ELSE = ("none of these, or too much is lost", "tools/analyze.py sensitivity: which layers hurt")


# What a link's factor does to channel c.
LINK = (
    ("first layer", "weight and bias of channel c: ÷ s"),
    ("nothing, ReLU, pooling", "channel c: ÷ s"),
    ("second layer", "weights that read channel c: × s"),
)


def which_recipe() -> str:
    """From what is wanted to a recipe: questions from the top down, the first yes decides."""
    parts = []
    for number, choice in enumerate(CHOICES):
        top = EDGE + number * ROW
        parts += _box(EDGE, top, "box", choice.question, choice.detail)
        parts += _box(ANSWER, top, "box yes", choice.recipe, choice.costs, "name")
        parts += _arrow(EDGE + BOX, top + HIGH / 2, ANSWER - EDGE - BOX, 0, "yes")
        parts += _arrow(EDGE + BOX / 2, top + HIGH, 0, ROW - HIGH, "no")
    parts += _box(EDGE, EDGE + len(CHOICES) * ROW, "box", *ELSE)
    summary = "Which recipe: " + "; ".join(f"{c.question}: {c.recipe}" for c in CHOICES)
    return _page(parts, ROW * len(CHOICES) + HIGH + 2 * EDGE, summary)


def equalization() -> str:
    """What moves from one layer to the next."""
    gap = 2 * EDGE
    wide = (WIDTH - 2 * EDGE - (len(LINK) - 1) * gap) // len(LINK)
    parts = []
    for number, texts in enumerate(LINK):
        x = EDGE + number * (wide + gap)
        parts += _box(x, EDGE, "box", *texts, wide=wide)
        if number:
            parts += _arrow(x - gap, EDGE + HIGH / 2, gap, 0, "")
    summary = "A link: " + ", ".join(": ".join(texts) for texts in LINK) + "; the same output"
    return _page(parts, HIGH + 2 * EDGE, summary)


def _page(parts: Sequence[str], height: int, summary: str) -> str:
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(summary)}</title>',
        f"<style>{STYLE}{OWN_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _box(
    x: float, y: float, style: str, first: str, second: str, kind: str = "title", wide: int = BOX
) -> list[str]:
    return [
        f'<rect class="{style}" x="{x}" y="{y}" width="{wide}" height="{HIGH}" rx="8"/>',
        f'<text class="ink title {kind}" x="{x + 14}" y="{y + 24}">{escape(first)}</text>',
        f'<text class="soft" x="{x + 14}" y="{y + 44}">{escape(second)}</text>',
    ]


def _arrow(x: float, y: float, right: float, down: float, text: str) -> list[str]:
    end_x, end_y = x + right, y + down
    head = f"M{end_x - 6} {end_y - 5}l6 5l-6 5" if right else f"M{end_x - 5} {end_y - 6}l5 6l5 -6"
    place = (x + right / 2 - 10, y - 6) if right else (x + 10, y + down / 2 + 4)
    arrow = f'<path class="arrow" d="M{x} {y}L{end_x} {end_y}{head}"/>'
    label = f'<text class="soft" x="{place[0]:.1f}" y="{place[1]:.1f}">{text}</text>'
    return [arrow, label] if text else [arrow]
