import io
import sys

from rich.table import Table

from mmptq.evaluation.render import natural_width, render


def small_table():
    table = Table(title=None)
    table.add_column("name")
    table.add_row("[not markup", style="bold")
    return table


def test_no_escape_codes_where_output_is_no_terminal():
    assert "\x1b" not in render(small_table(), width=40, color=True)


def test_lines_fit_an_ascii_output(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    text = render(small_table(), width=40)
    assert text.isascii() and "name" in text


def test_natural_width_is_that_of_the_widest_line():
    table = small_table()
    lines = render(table, width=natural_width(table)).splitlines()
    assert max(map(len, lines)) == natural_width(table)
    assert any("[not markup" in line for line in lines)
