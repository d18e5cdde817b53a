"""Text from rich's tables."""

import io
import sys

from rich.console import Console, RenderableType
from rich.measure import Measurement

PLAIN_WIDTH = 200  # where there is no terminal to fit into
_MIN_WIDTH = 40


def render(renderable: RenderableType, width: int | None = None, color: bool = False) -> str:
    """``renderable`` as text, without a trailing newline.

    Args:
        renderable: A table or anything else that rich can show.
        width: In columns; by default the terminal's, or wide enough for anything in a log file.
        color: Whether to use escape sequences; leave it off for anything that may reach a file.
            It has no effect where standard output is not a terminal.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    # Rich looks at the encoding: where it is ASCII, the table's lines are too.
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="\n")
    color = color and sys.stdout.isatty()
    console = Console(
        file=buffer,
        width=terminal_width() if width is None else width,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        legacy_windows=False,
    )
    console.print(renderable)
    buffer.flush()
    text = buffer.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n")


def terminal_width() -> int:
    """Columns of the terminal, or :data:`PLAIN_WIDTH` where output goes elsewhere."""
    console = Console(file=sys.stdout)
    return max(console.width, _MIN_WIDTH) if console.is_terminal else PLAIN_WIDTH


def natural_width(renderable: RenderableType) -> int:
    """Columns that ``renderable`` takes when nothing is wrapped."""
    console = Console(file=io.StringIO(), width=10_000)
    return Measurement.get(console, console.options, renderable).maximum
