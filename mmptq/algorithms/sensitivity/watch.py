"""A float pass that tells the gradients at everything that would be quantized."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmptq.algorithms.sensitivity.forms import Forms
from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.models import QuantModel


@dataclass
class Sums:
    """Of one form over one image."""

    numel: int = 0
    signal: float = 0.0
    noise: float = 0.0
    fisher: float = 0.0
    projected: float = 0.0


@dataclass
class _Read:
    """A tensor that layers read through a site, with what comes back from them."""

    site: str
    x: Tensor
    readers: int = 0
    back: int = 0
    grad: Tensor | None = None


@dataclass
class GradientWatch:
    """Makes a float pass tell the gradients at everything that would be quantized.

    Args:
        model: In float form.
        forms: Of its quantizers.
        weight_errors: Where the errors of the weights, which are the same for every image, are kept
            from one to the next while there is room.
    """

    model: QuantModel
    forms: Forms
    weight_errors: TensorStore
    _reads: dict[Any, _Read] = field(default_factory=dict)
    _weights: dict[str, Tensor] = field(default_factory=dict)
    _leaves: list[Tensor] = field(default_factory=list)
    _sums: dict[str, list[Sums]] = field(default_factory=dict)
    _dots: dict[str, list[float]] = field(default_factory=dict)
    _first: bool = True

    @contextmanager
    def watching(self, image: Tensor) -> Iterator[None]:
        """In this context a forward pass on ``image``, a leaf or whole numbers, is watched."""
        # Hooks are called on the way to what gradients are asked for: to the image, and to learned
        # queries, too.
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self._leaves += [*([image] if image.requires_grad else []), *learned]
        with ExitStack() as stack:
            for name, site in self.model.sites.items():
                if name in self.forms:
                    handle = site.register_forward_hook(self._reading(name))
                    stack.callback(handle.remove)
            for name, layer in self.model.quant_layers():
                if name in self.forms and layer.weight_quantizer is not None:
                    # A leaf of its own: what a frozen parameter is trained on is nobody's wish.
                    leaf = layer.weight.detach().requires_grad_()
                    self._weights[name] = leaf
                    layer.__dict__["quantized_weight"] = _returning(leaf)
                    stack.callback(layer.__dict__.pop, "quantized_weight")
            yield

    def go_back(self, scalar: Tensor, last: bool) -> None:
        """One backward pass from ``scalar``; the graph is freed after the last."""
        self._dots = {name: [0.0] * len(forms) for name, forms in self.forms.items()}
        leaves = [*self._weights.values(), *self._leaves]
        grads = torch.autograd.grad(scalar, leaves, allow_unused=True, retain_graph=not last)
        for (name, weight), grad in zip(self._weights.items(), grads, strict=False):
            self._add(name, weight.detach(), grad, self._errors_of_weight(name, weight.detach()))
        for read in self._reads.values():
            if read.back < read.readers:  # a reader whose output led nowhere
                self._finish(read)
            read.back = 0
        for name, dots in self._dots.items():
            for sums, dot in zip(self._sums.get(name, ()), dots, strict=False):
                sums.projected += dot**2
        self._first = False

    def sums(self, probes: int) -> dict[str, list[Sums]]:
        """Of each form, the estimates as means over the probes."""
        for of_forms in self._sums.values():
            for sums in of_forms:
                sums.fisher /= probes
                sums.projected /= probes
        return self._sums

    def _reading(self, site: str) -> Any:
        def hook(module: Any, args: Any, x: Tensor) -> Tensor:
            # Readers share a tensor, not always the object that holds it.
            key = (site, x.data_ptr(), x.shape, x.stride())
            read = self._reads.setdefault(key, _Read(site, x.detach()))
            read.readers += 1
            # A node of this reader's own: what else reads x, a residual addition, is no part of it.
            alias = x.view_as(x) if x.requires_grad else x.detach().clone().requires_grad_()
            if not x.requires_grad:
                self._leaves.append(alias)
            alias.register_hook(self._returned(read))
            return alias

        return hook

    def _returned(self, read: _Read) -> Any:
        def hook(grad: Tensor) -> None:
            read.grad = grad if read.grad is None else read.grad + grad
            read.back += 1
            if read.back == read.readers:
                self._finish(read)

        return hook

    def _finish(self, read: _Read) -> None:
        grad, read.grad = read.grad, None
        self._add(read.site, read.x, grad, self._errors(read.site, read.x))

    def _errors_of_weight(self, name: str, weight: Tensor) -> Iterable[Tensor]:
        if name in self.weight_errors:
            return self.weight_errors.get(name)
        copies = [weight] * len(self.forms[name])
        if not self.weight_errors.fits(copies):
            return self._errors(name, weight)
        errors = list(self._errors(name, weight))
        self.weight_errors.put(name, errors)
        return errors

    @torch.no_grad()
    def _errors(self, name: str, x: Tensor) -> Iterator[Tensor]:
        """What each form of the quantizer ``name`` does to ``x``, one at a time."""
        for form in self.forms[name]:
            yield form(x) - x

    @torch.no_grad()
    def _add(self, name: str, x: Tensor, grad: Tensor | None, errors: Iterable[Tensor]) -> None:
        """Add a tensor of the quantizer ``name``, its gradient (``None`` is zero) and errors."""
        of_forms = self._sums.setdefault(name, [Sums() for _ in self.forms[name]])
        for i, (error, sums) in enumerate(zip(errors, of_forms, strict=True)):
            if self._first:
                sums.numel += x.numel()
                sums.signal += _sum(x.square())
                sums.noise += _sum(error.square())
            if grad is not None:
                product = grad * error
                self._dots[name][i] += _sum(product)
                sums.fisher += _sum(product.square_())


def _returning(value: Tensor) -> Any:
    return lambda: value


def _sum(x: Tensor) -> float:
    # In float32, which torch adds up pairwise: the same to six digits, ten times faster.
    return float(x.sum(dtype=torch.float32))
