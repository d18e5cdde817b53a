"""Any detector of MMDetection, by what its own ``predict`` and ``loss`` do."""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.detectors import BaseDetector
from torch import Tensor, nn

from mmptq.adapters.base import Adapter
from mmptq.adapters.blank import add_labels, blank_sample, fresh
from mmptq.adapters.decisions import Method
from mmptq.adapters.passes import FrozenPass, Outputs, Samples, outputs_of
from mmptq.adapters.training import FEATURES, as_in_training
from mmptq.errors import ConfigError
from mmptq.models import Trace
from mmptq.registry import ADAPTERS, nested_dicts


@ADAPTERS.register_module()
class DetectorAdapter(Adapter):
    """Backbone, neck and heads of any form.

    Its outputs are what the last layers return in ``predict``: those whose output no other layer
    reads. Boxes on which later layers look at the image are predictions, not features.
    """

    @classmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether ``model`` is a detector of MMDetection."""
        return isinstance(model, BaseDetector)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._last_layers: tuple[str, ...] | None = None

    @property
    def last_layers(self) -> tuple[str, ...]:
        """Names of the layers that predict, in the order of first execution."""
        if self._last_layers is None:
            self.trace()
        assert self._last_layers is not None
        return self._last_layers

    @property
    def watched_layers(self) -> tuple[str, ...]:
        """The last ones."""
        return self.last_layers

    def trace(self) -> Trace:
        """As in the base class; an output of the features that nobody reads predicts nothing."""
        found = super().trace()
        heads = {name for name in found.last if name.partition(".")[0] not in FEATURES}
        found = replace(found, last=heads or found.last)
        self._last_layers = tuple(name for name in found.calls if name in found.last)
        return found

    def preprocess(self, batch: Any, with_labels: bool) -> Any:
        """As in the base class; MMDetection pads masks in training only, where it also distorts."""
        preprocessor: Any = self.model.data_preprocessor
        if not with_labels or not hasattr(preprocessor, "batch_augments"):
            return preprocessor(batch, False)
        augments, preprocessor.batch_augments = preprocessor.batch_augments, None
        try:
            return preprocessor(batch, True)
        finally:
            preprocessor.batch_augments = augments

    @torch.no_grad()
    def freeze(self, image: Tensor, samples: Samples, with_labels: bool) -> FrozenPass:
        """Run the pass once and keep what the model decided.

        Raises:
            ConfigError: ``with_labels``, and the model cannot be trained.
        """
        frozen = FrozenPass(samples, with_labels)
        if with_labels:
            self.loss(image, frozen)
        else:
            self.predict(image, frozen)
        frozen.decisions.close()
        return frozen

    def small_pass(self, with_labels: bool = False) -> tuple[Tensor, FrozenPass]:
        """As in the base class, with every region looked at."""
        with everything_accepted(self.model):
            return super().small_pass(with_labels)

    def label(self, samples: Samples, device: torch.device) -> None:
        """With boxes, and masks where a head has them to learn."""
        with_masks = any("mask" in name for name, _ in self.heads())
        for sample in samples:
            add_labels(sample, device, with_masks)

    def traced(self, image: Tensor, frozen: FrozenPass) -> None:
        """A prediction."""
        self.predict(image, frozen)

    def raw_outputs(self, image: Tensor) -> Outputs:
        """What the last layers return for ``image`` when every region is looked at."""
        with outputs_of(self.model, self.last_layers) as outputs:
            self.run(image)
        return outputs

    def run(self, image: Tensor) -> None:
        """A prediction with every region looked at."""
        self.start_pass()
        with everything_accepted(self.model):
            self.predict(image, FrozenPass([blank_sample(image, self.probe.metainfo)] * len(image)))

    def head_outputs(self, image: Tensor, frozen: FrozenPass) -> Outputs:
        """What the last layers return: a list a layer, an item a call (a level of a pyramid)."""
        with outputs_of(self.model, self.last_layers) as outputs:
            if frozen.with_labels:
                self.loss(image, frozen)
            else:
                self.predict(image, frozen)
        return outputs

    def predict(self, image: Tensor, frozen: FrozenPass) -> None:
        """``predict``, for what its layers compute; the detections are those of the first pass."""
        samples = [_unlabelled(sample) for sample in frozen.samples]
        with frozen.decisions.held(self.decided_in_predict(), self.chosen_in_transformer()):
            self.model.predict(image, samples)

    def loss(self, image: Tensor, frozen: FrozenPass) -> dict[str, Tensor]:
        """The components of the detector's own training loss.

        Norms and dropout are as in inference, random numbers the same every time.

        Raises:
            ConfigError: The model cannot be trained as it is configured.
        """
        self._check_trainable()
        with (
            as_in_training(self.model),
            frozen.decisions.held(self.decided_in_loss(), self.chosen_in_transformer()),
        ):
            return self.model.loss(image, [fresh(sample) for sample in frozen.samples])

    def decided_in_predict(self) -> list[Method]:
        """Methods whose results a later pass of a prediction takes over.

        Detections lead to nothing in a model of one stage; made once, they cost nothing. Nothing
        comes of masks, which are added to detections as large as the image.
        """
        methods = []
        for name, module in self.heads():
            if hasattr(type(module), "predict_by_feat"):
                decide: Any = module.predict_by_feat
                arguments = inspect.signature(decide).parameters
                passes_on = "results_list" if "results_list" in arguments else None
                key = f"{name}.predict_by_feat"
                methods.append(Method(key, module, "predict_by_feat", passes_on=passes_on))
        return methods

    def decided_in_loss(self) -> list[Method]:
        """Methods whose results a later loss takes over: targets that no output changes."""
        return [
            Method(f"{name}.get_targets", module, "get_targets", copies=False)
            for name, module in self.heads()
            if isinstance(module, AnchorHead) and _assigns_by_anchor(module)
        ]

    def chosen_in_transformer(self) -> list[Method]:
        """Methods within which queries are chosen from the encoder's output."""
        return [Method("queries", self.model, name) for name in _CHOOSING if self._has(name)]

    def heads(self) -> Iterator[tuple[str, nn.Module]]:
        """All modules that are not of the features."""
        for name, module in self.model.named_modules():
            if name and name.partition(".")[0] not in FEATURES:
                yield name, module

    def _has(self, name: str) -> bool:
        return callable(getattr(self.model, name, None))

    def _check_trainable(self) -> None:
        kind = type(self.model).__name__
        teachers = [name for name in vars(self.model) if "teacher" in name]
        teachers += [name for name, _ in self.model.named_children() if "teacher" in name]
        if teachers:
            raise ConfigError(
                f"the loss of a {kind} needs its teacher ({teachers[0]}), which is not quantized; "
                "use the objective 'OutputDistance'"
            )
        missing = getattr(self.model, "train_cfg", "?") is None and hasattr(self.model, "roi_head")
        if missing:
            raise ConfigError(
                "model.train_cfg is None: the task loss assigns and samples by it; give it, or use "
                "the objective 'OutputDistance'"
            )


# Of a transformer with two stages: what goes from the encoder to the decoder.
_CHOOSING = ("pre_decoder",)


def _assigns_by_anchor(head: AnchorHead) -> bool:
    # Other heads may assign anchors by the outputs.
    return type(head).get_targets is AnchorHead.get_targets


def _unlabelled(sample: Any) -> Any:
    """A sample of the same image for predictions to be written to."""
    blank = type(sample)(metainfo=sample.metainfo)
    if "proposals" in sample:
        blank.proposals = sample.proposals
    return blank


@contextmanager
def everything_accepted(model: nn.Module) -> Iterator[None]:
    """Detections of any score count, so that what works on detected regions runs.

    It depends on the weights, and on the image, whether anything is detected at all.
    """
    cfgs = [cfg for m in model.modules() for cfg in nested_dicts(getattr(m, "test_cfg", None))]
    with ExitStack() as stack:
        for cfg in cfgs:
            for key in ("score_thr", "conf_thr"):
                if key in cfg:
                    stack.enter_context(changed(cfg, key, 0.0))
        yield


@contextmanager
def changed(cfg: Any, key: str, value: Any) -> Iterator[None]:
    """``cfg[key]`` is ``value`` in this context."""
    old, cfg[key] = cfg[key], value
    try:
        yield
    finally:
        cfg[key] = old
