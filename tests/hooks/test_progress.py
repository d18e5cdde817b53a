import functools
import io
import sys

import pytest

from mmptq.hooks import CalibrationProgressHook
from mmptq.hooks import progress as module
from mmptq.registry import HOOKS


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def lines(monkeypatch):
    """The messages that reach the log."""
    found = []
    monkeypatch.setattr(module, "print_log", lambda text, logger: found.append(text))
    return found


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    monkeypatch.setattr(module._Lines.__init__, "__defaults__", (clock,))
    return clock


def run(hook, clock, name, total, seconds, start=0):
    hook.before_calib_task(None, name, total)
    for index in range(start, total):
        clock.now += seconds
        hook.after_calib_iter(None, name, index)
    hook.after_calib_task(None, name)


def test_lines_come_every_few_seconds_with_rate_and_eta(lines, clock):
    run(CalibrationProgressHook(interval=5, bar=False), clock, "calibrate", 20, 1.0)
    assert lines == [
        "calibrate: 5/20, 1.0/s, ETA 15.0 s",
        "calibrate: 10/20, 1.0/s, ETA 10.0 s",
        "calibrate: 15/20, 1.0/s, ETA 5.0 s",
        "calibrate: 20/20, 1.0/s, ETA 0.0 s",
        "calibrate: 20/20 done in 20.0 s",
    ]


def test_a_short_task_is_one_line(lines, clock):
    run(CalibrationProgressHook(bar=False), clock, "quick", 3, 0.1)
    assert lines == ["quick: 3/3 done in 0.3 s"]


def test_the_rate_after_a_resume_counts_only_new_items(lines, clock):
    run(CalibrationProgressHook(interval=2, bar=False), clock, "t", 14, 1.0, start=10)
    assert lines[0] == "t: 12/14, 1.0/s, ETA 2.0 s"


def test_iterations_of_an_unknown_task_and_other_processes_do_nothing(lines, clock, monkeypatch):
    hook = CalibrationProgressHook(interval=0, bar=False)
    hook.after_calib_iter(None, "never begun", 0)
    hook.after_calib_task(None, "never begun")
    monkeypatch.setattr(module, "is_main_process", lambda: False)
    run(hook, clock, "t", 3, 1.0)
    assert lines == []


def test_the_bar_shows_the_count_and_gives_the_cursor_back(lines, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    hook = CalibrationProgressHook()
    assert hook.bar
    hook.before_calib_task(None, "calibrate", 4)
    for index in range(4):
        hook.after_calib_iter(None, "calibrate", index)
    hook.after_calib_task(None, "calibrate")
    text = terminal.getvalue()
    assert "calibrate" in text and "4/4" in text and "ETA" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # cursor off, cursor on
    assert lines == []


def test_a_task_that_broke_off_may_start_again(lines, clock):
    hook = CalibrationProgressHook(bar=False)
    hook.before_calib_task(None, "t", 3)
    hook.after_calib_iter(None, "t", 0)
    hook.before_test(None)
    hook.after_run(None)
    run(hook, clock, "t", 3, 1.0)
    assert lines == ["t: 3/3 done in 3.0 s"]


def test_no_bar_in_a_log_file():
    assert CalibrationProgressHook().bar is False  # pytest captures stdout


@pytest.mark.parametrize("installed", [True, False])
def test_a_notebook_has_a_bar_where_it_can_draw_one(installed, monkeypatch):
    notebook = functools.partial(module.Console, force_jupyter=True)
    monkeypatch.setattr(module, "Console", notebook)
    monkeypatch.setattr(module, "find_spec", lambda name: installed or None)
    assert CalibrationProgressHook().bar is installed


def test_registered():
    assert isinstance(
        HOOKS.build(dict(type="mmptq.CalibrationProgressHook")), CalibrationProgressHook
    )
