"""What self-contained pages have in common: harmless text, the frame with its policy, plots."""

from mmptq.webpage.axes import Axes, linear_scale, log_scale
from mmptq.webpage.frame import base_style, html_page, own_file
from mmptq.webpage.lines import Line, Look, legend, line_plot
from mmptq.webpage.safe_text import for_csv, for_html, for_markdown, link_to, visible

__all__ = [
    "Axes",
    "Line",
    "Look",
    "base_style",
    "for_csv",
    "for_html",
    "for_markdown",
    "html_page",
    "legend",
    "line_plot",
    "linear_scale",
    "link_to",
    "log_scale",
    "own_file",
    "visible",
]
