"""Graphs that find something else than the model are found."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

pytest.importorskip("onnx")
from mmptq.engine.incremental.probing import float_form  # noqa: E402
from mmptq.errors import ConfigError, MmptqError  # noqa: E402
from mmptq.export import graph_check  # noqa: E402
from mmptq.export.export import export_float  # noqa: E402
from mmptq.export.graph_check import check_graph  # noqa: E402
from mmptq.export.kinds import make_part  # noqa: E402
from tests.calibration_support import make_context  # noqa: E402, F401
from tests.export_support import REAL, Make, example, make_model  # noqa: E402, F401


@pytest.mark.parametrize("runtime", REAL)
@pytest.mark.parametrize("name", ["heads", "detector"])
def test_sizes_that_the_exporter_fixed_are_found(
    name: str,
    runtime: str,
    make_model: Make,  # noqa: F811
) -> None:
    pytest.importorskip(runtime)
    model = make_model("retinanet")
    examples = [example(64, 96)]
    part = make_part(model.model, name)
    with float_form(model):
        check_graph(part, export_float(model, part, examples[0]), runtime, examples, False)
        extract = model.model.extract_feat

        def cut(image: torch.Tensor) -> Any:
            """As a size that Python computed."""
            return tuple(level[..., : int(image.shape[-1]) // 8] for level in extract(image))

        model.model.extract_feat = cut
        fixed = export_float(model, part, examples[0])
        check_graph(part, fixed, runtime, examples, static=True)
        with pytest.raises(ConfigError, match="export it with --static"):
            check_graph(part, fixed, runtime, examples, static=False)


@pytest.mark.parametrize(("own", "right"), [(0.55, True), (0.9, False)])
def test_a_model_of_which_rounding_decides_is_measured_by_itself(
    own: float,
    right: bool,
    make_model: Make,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores so near to each other that float64 finds other things than float32."""
    pytest.importorskip("onnxruntime")
    model, one = make_model("retinanet"), example(64, 96)
    part = make_part(model.model)
    graph = export_float(model, part, one)
    monkeypatch.setattr(graph_check, "_agreement", lambda *_: 0.5)
    monkeypatch.setattr(graph_check, "_own_agreement", lambda *_: own)
    with nullcontext() if right else pytest.raises(MmptqError, match="50% .* in both, 90% in"):
        check_graph(part, graph, "onnxruntime", [one], static=True)


def test_how_much_a_model_agrees_with_itself(make_model: Make) -> None:  # noqa: F811
    model = make_model("retinanet")
    with float_form(model):
        assert graph_check._own_agreement(make_part(model.model), [example(64, 96)]) > 0.95
