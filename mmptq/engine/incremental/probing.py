"""One small pass of the float form, to see how a prepared model hangs together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from mmptq.adapters import Adapter
from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.models import QuantModel
from mmptq.modules import evaluating


@contextmanager
def float_form(model: QuantModel) -> Iterator[None]:
    """All quantizers are off in this context."""
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    switches = {quantizer: quantizer.enabled for quantizer in quantizers}
    for quantizer in quantizers:
        quantizer.enabled = False
    try:
        yield
    finally:
        for quantizer, enabled in switches.items():
            quantizer.enabled = enabled


@contextmanager
def probing(
    model: QuantModel, adapter: Adapter, with_labels: bool = False
) -> Iterator[tuple[Callable[[Tensor], Any], Tensor]]:
    """A forward function of the float form and a small image to run it on.

    Args:
        model: Prepared.
        adapter: Of its family.
        with_labels: Whether it is the pass of the training loss.
    """
    with float_form(model), evaluating(model):
        model.start_pass()
        image, frozen = adapter.small_pass(with_labels)
        model.start_pass()
        yield lambda x: adapter.head_outputs(x, frozen), image


def call_graph(model: QuantModel, adapter: Adapter, with_labels: bool = False) -> CallGraph:
    """The call graph of the prepared model; arguments as in :func:`probing`."""
    with probing(model, adapter, with_labels) as (forward, image):
        return CallGraph(adapter.model, forward, image, adapter.watched_layers)
