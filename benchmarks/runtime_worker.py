"""Times exported models in a process that holds a runtime and little else; prints JSON.

python benchmarks/runtime_worker.py RUNTIME THREADS ROUNDS HEIGHT WIDTH FILE...
"""

import json
import sys
import time

import numpy as np
from peak_memory import peak_mb, reset_peak

from mmptq.runtime import open_session


def main() -> None:
    """Run the files in turns, and one image each before it counts."""
    runtime, *numbers = sys.argv[1:6]
    threads, rounds, height, width = map(int, numbers)
    reset_peak()
    sessions = [open_session(path, runtime, threads or None) for path in sys.argv[6:]]
    image = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    arrays = {"image": image, "size": np.array([[height, width]], np.float32)}
    seconds: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds + 1):
        for session, times in zip(sessions, seconds, strict=True):
            inputs = {name: arrays[name] for name in session.inputs}
            start = time.perf_counter()
            session.run(inputs)
            times.append(time.perf_counter() - start)
    figures = {"seconds": [times[1:] for times in seconds], "peak_mb": peak_mb()}
    figures["integers"] = [session.integer_products() for session in sessions]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
