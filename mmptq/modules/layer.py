"""What every quantized layer has: a weight quantizer and quantizers of its inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmptq.quantizers import UniformQuantizer


class QuantLayer(nn.Module):
    """Mixin of a layer that reads one input and has one weight.

    Activations are quantized where a layer reads them. A tensor that several layers read has one
    quantizer: one of them *owns* it (it is in that layer's ``input_quantizers`` and so in the state
    dict once), the others hold a reference. A layer that runs several times per image, such as a
    head over the FPN levels, may read through a different quantizer in every call.
    """

    weight: Tensor

    def _init_quantizers(self) -> None:
        self.weight_quantizer: UniformQuantizer | None = None
        self.input_quantizers = nn.ModuleList()
        self._readers: tuple[UniformQuantizer | None, ...] = (None,)
        self._calls = 0
        self._cached_weight: tuple[object, tuple[Tensor, ...], Tensor] | None = None

    def bind_inputs(self, readers: Sequence[UniformQuantizer | None]) -> None:
        """Set the quantizer of each call of one forward pass; one entry serves every call."""
        self._readers = tuple(readers)

    def reset_calls(self) -> None:
        """Start a new forward pass of the model."""
        self._calls = 0

    @property
    def calls(self) -> int:
        """How often the layer has run in this forward pass."""
        return self._calls

    @property
    def next_reader(self) -> UniformQuantizer | None:
        """The quantizer through which the next call reads its input.

        Raises:
            RuntimeError: The layer ran more often in this forward pass than when it was prepared.
        """
        if len(self._readers) == 1:
            return self._readers[0]
        if self._calls >= len(self._readers):
            raise RuntimeError(
                f"{type(self).__name__} was prepared for {len(self._readers)} calls per forward "
                "pass and is called once more; call the model through its own forward (which "
                "starts a new pass), or prepare it with per_call=False"
            )
        return self._readers[self._calls]

    def quantize_input(self, x: Tensor) -> Tensor:
        """Read ``x`` through this call's quantizer and count the call."""
        reader = self.next_reader
        self._calls += 1
        return x if reader is None else reader(x)

    def quantized_weight(self) -> Tensor:
        """The fake-quantized weight; kept between forward passes that need no gradient."""
        quantizer = self.weight_quantizer
        if quantizer is None or not quantizer.enabled:
            return self.weight
        if torch.is_grad_enabled():
            return quantizer(self.weight)
        state = (self.weight.data_ptr(), self.weight._version, quantizer.fingerprint())
        if self._cached_weight is None or self._cached_weight[0] != state:
            # Aliases keep the storages alive: the address of a freed one may come back with other
            # values in it, when someone assigns `weight.data` twice.
            sources = (self.weight.detach(), *(t.detach() for t in quantizer.buffers()))
            self._cached_weight = (state, sources, quantizer(self.weight))
        return self._cached_weight[2]
