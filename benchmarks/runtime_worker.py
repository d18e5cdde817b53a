"""Times exported models in a process that holds a runtime and little else; prints JSON.

python benchmarks/runtime_worker.py RUNTIME THREADS ROUNDS HEIGHT WIDTH FILE...
"""

import json
import sys
from functools import partial

import numpy as np
from peak_memory import peak_mb, reset_peak
from timing import in_turns

from mmptq.runtime import open_session


def main() -> None:
    """Run the files in turns, and one image each before it counts."""
    runtime, *numbers = sys.argv[1:6]
    threads, rounds, height, width = map(int, numbers)
    reset_peak()
    sessions = [open_session(path, runtime, threads or None) for path in sys.argv[6:]]
    image = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    arrays = {"image": image, "size": np.array([[height, width]], np.float32)}
    inputs = ({name: arrays[name] for name in session.inputs} for session in sessions)
    runs = [partial(session.run, given) for session, given in zip(sessions, inputs, strict=True)]
    figures = {"seconds": in_turns(runs, rounds), "peak_mb": peak_mb()}
    figures["integers"] = [session.integer_products() for session in sessions]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
