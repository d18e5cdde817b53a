"""Rules of runtimes."""

from mmptq.runtime import RUNTIMES
from mmptq.targets import TARGETS


def test_each_is_checked_in_a_runtime_that_exists() -> None:
    assert list(TARGETS) == ["onnxruntime", "openvino", "tensorrt", "generic"]
    assert all(target.runtime in RUNTIMES for target in TARGETS.values())
    assert all(target.summary for target in TARGETS.values())
