"""benchmarks/runtime_speed.py: what the docs show of a measurement."""

import os


def test_a_cell_is_of_medians_rounded_as_it_is_shown():
    import runtime_speed

    row = {
        "model": "m",
        "shape": "320x320",
        "runtime": "openvino",
        "threads": 0,
        "seconds": [[0.2, 0.2044, 0.9], [0.01, 0.00873, 0.001]],
        "integers": [59, 59],
    }
    assert runtime_speed.name_of(row) == f"m/320x320/openvino/{os.cpu_count()} threads"
    assert runtime_speed.cell_of(row) == {
        "float_ms": 204,
        "ms": 8.7,
        "ratio": 23.41,
        "integers": [59, 59],
    }
