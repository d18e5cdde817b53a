"""benchmarks/timing.py: on a clock that what is timed moves."""

import pytest


class Clock:
    """Goes on only when it is told to."""

    def __init__(self):
        self.now = 100.0
        self.log = []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        def run():
            self.log.append(name)
            self.now += next(seconds)
            return name

        return run


@pytest.fixture
def clock():
    return Clock()


def test_seconds_of_one_run(clock):
    from timing import timed

    assert timed(clock.work("a", iter([2.5])), clock) == ("a", 2.5)


def test_runs_alternate_and_the_first_round_does_not_count(clock):
    from timing import in_turns

    runs = [clock.work("a", iter([50, 1, 2])), clock.work("b", iter([70, 3, 4]))]
    assert in_turns(runs, 2, clock) == [[1, 2], [3, 4]]
    assert clock.log == ["a", "b"] * 3
