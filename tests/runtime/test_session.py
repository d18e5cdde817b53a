"""Sessions: one interface, errors that say what to do, and nothing of torch behind it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

from mmptq.errors import ConfigError, MmptqError  # noqa: E402
from mmptq.export.compose import for_each_image  # noqa: E402
from mmptq.runtime import RUNTIMES, open_session, session  # noqa: E402
from tests.tiny_project import REPO  # noqa: E402


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two outputs of one input, in an order that is not the alphabet's."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in "xba"]
    nodes = [helper.make_node("Neg", ["x"], ["b"]), helper.make_node("Abs", ["x"], ["a"])]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"mmptq": json.dumps({"part": "heads", "classes": ["a"]})})
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runs_and_knows_its_metadata(runtime: str, path: Path) -> None:
    pytest.importorskip(RUNTIMES[runtime].package)
    opened = open_session(path, runtime, threads=1)
    assert opened.inputs == ("x",) and opened.outputs == ("b", "a")
    found = opened.run({"x": np.array([-1.0, 2.0], np.float32)})
    assert found["b"].tolist() == [1.0, -2.0] and found["a"].tolist() == [1.0, 2.0]
    assert opened.metadata == {"part": "heads", "classes": ["a"]}
    assert opened.integer_products() == (0, 0)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_another_size_than_the_files_is_named(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES[runtime].package)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 3]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    opened = open_session(tmp_path / "m.onnx", runtime, threads=1)
    assert opened.sizes == {"x": (None, 3)}
    assert opened.run({"x": np.ones((2, 3), np.float32)})["y"].shape == (2, 3)
    with pytest.raises(MmptqError, match=r"x is 2x4, and the file takes \?x3 alone.*--static"):
        opened.run({"x": np.ones((2, 4), np.float32)})


@pytest.mark.parametrize("each_image", [False, True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_of_equal_values_the_first_is_the_best(
    runtime: str, each_image: bool, tmp_path: Path
) -> None:
    """ONNX says so; at few bits many scores are equal, and detections depend on it."""
    pytest.importorskip(RUNTIMES[runtime].package)
    values, count = 3, 500
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [count])
    best = helper.make_tensor_value_info("best", TensorProto.INT64, [count])
    k = helper.make_tensor("k", TensorProto.INT64, [1], [count])
    node = helper.make_node("TopK", ["x", "k"], ["values", "best"], axis=0)
    graph = helper.make_graph([node], "g", [x], [best], [k])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    scores = (np.random.default_rng(0).integers(0, values, count) / values).astype(np.float32)
    if each_image:
        model = for_each_image(model, "image")
        scores = scores[None]
    onnx.save(model, tmp_path / "m.onnx")
    (found,) = open_session(tmp_path / "m.onnx", runtime, threads=1).run({"x": scores}).values()
    assert np.array_equal(found.ravel(), np.argsort(-scores.ravel(), kind="stable"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_damaged_file(runtime: str, tmp_path: Path) -> None:
    package = RUNTIMES[runtime].package
    pytest.importorskip(package)
    (tmp_path / "m.onnx").write_bytes(b"garbage")
    with pytest.raises(MmptqError, match=rf"{package} cannot open .*m\.onnx"):
        open_session(tmp_path / "m.onnx", runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_cannot_be_computed(runtime: str, path: Path) -> None:
    package = RUNTIMES[runtime].package
    pytest.importorskip(package)
    opened = open_session(path, runtime, threads=1)
    with pytest.raises(MmptqError, match=f"{package} cannot run the model"):
        opened.run({"x": np.zeros((2, 2, 2), np.float64)})


def test_what_is_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"runtime = 'tvm': must be one of onnxruntime, openvino"):
        open_session(path, "tvm")
    with pytest.raises(ConfigError, match=r"there is no file .*other\.onnx"):
        open_session(path.with_name("other.onnx"), "openvino")
    monkeypatch.setattr(session.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed: pip install mmptq\[openvino\]"):
        open_session(path, "openvino")


SIGNALLED = """
import signal
import sys

from mmptq.runtime import open_session

first, second = (open_session(sys.argv[1], "openvino") for _ in range(2))
del first
del second
blocks = [bytes(20000) for _ in range(1000)]
signal.signal(signal.SIGUSR1, lambda *_: print("lives"))
signal.raise_signal(signal.SIGUSR1)
"""


def test_signals_arrive_after_two_sessions(path: Path) -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", SIGNALLED, str(path)]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "lives")


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "mmdet", "mmengine", "mmcv", "scipy", "rich", "onnx"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Blocked())
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("torch is here")
import numpy as np
from mmptq.runtime import open_session
print(open_session(sys.argv[1], "onnxruntime").run({"x": np.ones(2, np.float32)})["b"].tolist())
"""


def test_needs_neither_torch_nor_mmdetection(path: Path) -> None:
    pytest.importorskip("onnxruntime")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(path)],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[-1.0, -1.0]", done.stderr
