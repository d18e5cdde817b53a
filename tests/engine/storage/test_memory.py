import resource
import subprocess
import sys

import pytest

# A loop that frees and allocates 64 MiB in each round, as a unit's iterations do.
LOOP = """
import resource, sys, torch
from mmptq.engine.storage.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def round():
    kept = [torch.zeros(2**21) for _ in range(8)]
for _ in range(3):
    round()
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_a_loop_gets_its_memory_from_the_kernel_once() -> None:
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", LOOP, how], text=True))
        for how in ("default", "keep")
    }
    pages_of_a_round = 2**26 // resource.getpagesize()
    assert faults["keep"] < pages_of_a_round / 10
    assert faults["keep"] <= faults["default"]
