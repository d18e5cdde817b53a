"""The report of a run as one HTML file of at most 5 MB, out of what lies in its work dir.

No network, no script: everything is there as the page opens. Nothing that comes from data can run
in it: text is escaped, pictures are decoded and encoded anew, and the page's policy admits no
script at all.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import print_log

from mmptq.errors import MmptqError
from mmptq.fileio import save_text
from mmptq.report.about import config_section, environment_section, images_section
from mmptq.report.exported import export_section
from mmptq.report.layers import layers_section
from mmptq.report.pictures import pictures_section
from mmptq.report.recipe import recipe_section
from mmptq.report.run import Run, read_run
from mmptq.report.section import Section, paragraph, shortened
from mmptq.report.sensitivity import sensitivity_section
from mmptq.report.table import headline, result_section
from mmptq.webpage import base_style, for_html, html_page, own_file

NAME = "report.html"
LIMIT = 5_000_000  # bytes of the page
_RESERVED = 20_000  # of them, for the frame and notes

_Make = Callable[[Run], Section | None]
_SECTIONS: tuple[tuple[str, _Make], ...] = (
    ("Results", result_section),
    ("Export", export_section),
    ("The recipe", recipe_section),
    ("Layers", layers_section),
    ("Sensitivity", sensitivity_section),
    ("Images", images_section),
    ("Environment", environment_section),
    ("Config", config_section),
)
# Pictures stand before these; they are made last, as they get what is left of the page.
_BEHIND_PICTURES = 2


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a work dir, from what lies there.

    Args:
        folder: Work dir of a run that came to its end.

    Returns:
        The page.

    Raises:
        MmptqError: There is no such run, ``results.json`` or ``run.json`` is damaged, or the page
            cannot be written.
    """
    folder = Path(folder)
    save_text(folder / NAME, to_html(read_run(folder)))
    return folder / NAME


def to_html(run: Run, limit: int = LIMIT) -> str:
    """The page.

    Args:
        run: What it is of.
        limit: Bytes that it may take.
    """
    style = base_style() + own_file("mmptq.report", "report.css")
    room = limit - len(style.encode()) - _RESERVED
    made = _within([_made(run, *entry) for entry in _SECTIONS], room)
    pictures = pictures_section(run, room - _size(made))
    made.insert(_BEHIND_PICTURES, pictures)
    sections = [section for section in made if section is not None]
    title = shortened(f"{run.method} {run.row.bits if run.row else ''}".strip())
    links = " ".join(f'<a href="#{s.key}">{s.heading}</a>' for s in sections)
    model = shortened(run.record.model) if run.record else ""
    body = [
        f"<h1>{for_html(f'{title} of a {model}' if model else title)}</h1>",
        f'<p class="answer">{for_html(headline(run))}</p>',
        f'<nav class="dim">{links}</nav>',
        *(section.to_html() for section in sections),
    ]
    return html_page(f"{title}: {run.folder.name}", "\n".join(body), style, pictures=True)


def _made(run: Run, title: str, make: _Make) -> Section | None:
    """A section, or why it is not there: one damaged file does not cost the rest."""
    try:
        return make(run)
    except MmptqError as error:
        print_log(f"report: {title} is left out: {error}", logger="current", level=logging.WARNING)
        key = title.lower().split()[-1]
        return Section(key, title, paragraph(f"Left out: {error}", "note"))


def _within(sections: list[Section | None], room: int) -> list[Section | None]:
    """The sections, the largest replaced by notes until they fit."""
    while _size(sections) > room:
        largest = max((s for s in sections if s is not None), key=lambda s: len(s.html))
        note = paragraph("Left out: it would not fit into the page.", "note")
        if largest.html == note:
            break
        sections = [Section(s.key, s.title, note) if s is largest else s for s in sections]
    return sections


def _size(sections: list[Section | None]) -> int:
    return sum(len(section.to_html().encode("utf-8", "replace")) for section in sections if section)
