"""Graphs that find something else than the model are found."""

from typing import Any

import pytest
import torch

pytest.importorskip("onnx")
from mmptq.engine.incremental.probing import float_form  # noqa: E402
from mmptq.errors import ConfigError  # noqa: E402
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
