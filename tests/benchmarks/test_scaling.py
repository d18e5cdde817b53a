"""benchmarks/scaling.py: its command line, on cells that are there."""

import json
import sys

import pytest

from mmptq.errors import MmptqError

SECONDS = {
    "statistics": 8.0,
    "ranges": 1.0,
    "search": 10.0,
    "searching": 7.0,
    "reconstruction": 20.0,
    "adjusting": 12.0,
    "start-up": 9.0,
}
ORIGIN = {"date": "2026-12-01", "commit": "abc1234", "machine": "2 cores"}


def cell(processes, images):
    share = images / 64 / processes
    seconds = {name: seconds * share for name, seconds in SECONDS.items()}
    metric = images / 64  # of the main process alone
    return {
        "seconds": {**seconds, "metric": metric, "evaluation": 5 * share + metric},
        "results": {
            "statistics": "s",
            "ranges": "r",
            "evaluation": {"bbox_mAP": 0.5},
            "search": {"evaluations": 12, "losses": "l", "model": "m"},
            "reconstruction": {"units": 2, "left": 0.9 + processes / 100, "one_model": True},
        },
        **ORIGIN,
    }


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """The command line on made-up cells."""
    import scaling

    path = tmp_path / "cells.json"
    cells = {
        point.name: cell(point.processes, point.amount.images)
        for point in scaling.points("configs/demo/a.py", amounts(scaling), 1)
    }
    size = {"shape": [800, 1344], "layers": 10, "weights": 1000}
    cells["demo_a/forward"] = {**size, "seconds": 0.02}
    cells["retinanet_r50_w4a4/forward"] = {**size, "seconds": 2.0}

    def run(*arguments, cells=cells):
        path.write_text(json.dumps(cells))
        command = ["scaling.py", "--config", "configs/demo/a.py", "--json", str(path)]
        monkeypatch.setattr(sys, "argv", [*command, "--repeats", "1", *arguments])
        status = scaling.main()
        return status, capsys.readouterr().out

    run.cells = cells
    return run


def amounts(scaling):
    return [scaling.Amount(images, 12, 30) for images in (64, 128)]


def test_the_table_of_the_largest_size_and_where_it_comes_from(call):
    status, text = call("--print-only")
    assert status == 0
    assert "| statistics | 16.00 | 8.00 | 0.50 | 0.50 to 0.50 | 0.6 | the same bits | yes |" in text
    assert "128 calibration and 128 test images, 12 evaluations, 30 iterations of 16" in text
    assert text.endswith("Recorded 2026-12-01 (abc1234) on 2 cores.\n")


def test_a_promise_that_is_broken_is_shown_and_fails(call):
    cells = json.loads(json.dumps(call.cells))
    name = "a/images=128,evals=12,iters=30/processes=2/0"
    cells[name]["results"]["statistics"] = "others"
    status, text = call("--print-only", cells=cells)
    assert status == 1
    assert "| the same bits | **no** |" in text


def test_the_model_says_that_it_computes_and_what_it_assumes(call):
    status, text = call("--print-only", "--model", "--bandwidth", "25")
    assert status == 0
    assert text.startswith("Computed, not measured: retinanet r50_w4a4 at 1344x800")
    assert "takes 2 s on one core" in text and "25 GB/s" in text
    # 5 s for 64 images: 100 times the seconds a pass, all of them shared; 1/64 s an image's metric.
    assert "| evaluation | 5000 images | 10.9 h | 1.4 h (8x) | 11.6 min (56x) |" in text


def test_given_seconds_of_a_device_are_taken(call):
    _, text = call("--print-only", "--model", "--seconds", "0.02")
    assert "takes 0.02 s on a device" in text


def test_nothing_measured_is_said_and_what_measures(call):
    for more in ((), ("--model",)):
        status, text = call("--print-only", *more, cells={})
        assert (status, text) == (0, "Not measured yet: `python benchmarks/scaling.py` does it.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "40"], r"--sizes 40: must be a multiple of 16"),
        (["--sizes", "0"], r"--sizes 0: must be a multiple of 16"),
        (["--sizes", "64", "64", "--model"], r"--sizes 64: --model fits to two sizes"),
        (["--evals", "1"], r"--evals 1: must be 2 or more"),
        (["--iters", "0"], r"--iters 0: must be 1 or more"),
        (["--repeats", "0"], r"--repeats 0: must be 1 or more"),
        (["--lapq-evals", "1"], r"--lapq-evals 1: must be 2 or more"),
        (["--bandwidth", "0"], r"--bandwidth 0\.0: must be more than 0"),
        (["--latency", "-1"], r"--latency -1\.0: must be more than 0"),
        (["--seconds", "nan"], r"--seconds nan: must be more than 0"),
    ],
)
def test_a_bad_argument_is_named(call, arguments, message):
    with pytest.raises(MmptqError, match=message):
        call(*arguments)
