"""What does not fit into a row: settings, environments, and links to what the runs left."""

import json
from pathlib import Path

from mmptq.evaluation.environment import environment_text
from mmptq.leaderboard.cells import Cell
from mmptq.leaderboard.columns import bits
from mmptq.leaderboard.runs import Run
from mmptq.webpage import for_html, link_to, visible

_MAX_PICTURES = 8


def links(cell: Cell, folder: Path) -> str:
    """To report, config and first picture of the first run.

    Args:
        cell: Whose.
        folder: Where the page lies.
    """
    run = cell.first.run
    files = {"report": run.report, "config": run.config}
    found = [_link(path, folder, name) for name, path in files.items() if path is not None]
    if run.pictures:
        found.append(_link(run.pictures[0], folder, "picture"))
    return " ".join(found)


def details(cell: Cell, row: str, folder: Path) -> str:
    """A folded element about one row, with the id ``<row>-details``.

    Args:
        cell: The row.
        row: Its id.
        folder: Where the page lies.
    """
    head = f"{cell.model}: {cell.first.method} {bits(cell)}, {cell.first.runtime}"
    runs = list({sample.run.file: sample for sample in cell.rows}.values())
    entries = [
        ("float weights", for_html(cell.first.run.results.float_checkpoint or "random")),
        ("environment", "<br>".join(for_html(environment_text(e)) for e in cell.environments)),
        ("runs", "<br>".join(_run(s.run, s.seed, cell.is_float, folder) for s in runs)),
    ]
    if not cell.is_float:
        entries.append(("settings", f"<pre>{_settings(cell)}</pre>"))
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in entries)
    return (
        f'<details id="{row}-details"><summary>{for_html(head)}</summary>'
        f'<dl id="{row}-inside">{listed}</dl></details>'
    )


def _settings(cell: Cell) -> str:
    text = json.dumps(cell.first.settings, indent=1, ensure_ascii=False, default=str)
    return "\n".join(for_html(line) for line in text.splitlines())


def _run(run: Run, seed: int, is_float: bool, folder: Path) -> str:
    parts = [_link(run.file, folder, visible(run.folder.name or run.folder))]
    if not is_float:
        parts.append(f"seed {seed}")
    if run.config is not None:
        parts.append(_link(run.config, folder, "config"))
    pictures = run.pictures[:_MAX_PICTURES]
    parts += [_link(path, folder, f"picture {i}") for i, path in enumerate(pictures, 1)]
    return ", ".join(parts)


def _link(path: Path, folder: Path, text: str) -> str:
    return f'<a href="{for_html(link_to(path, folder))}">{for_html(text)}</a>'
