"""Which layers may divide what they read."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.algorithms.equalization.sites import explicit_groups
from mmptq.models import QConfig, QuantClassifier, QuantModel, build_plan, quantizable_layers, trace


def groups_of(model: QuantModel) -> list[set[str]]:
    return [set(group) for group in explicit_groups(model)]


def prepared(net: nn.Module, per_channel: str = "depthwise") -> QuantModel:
    found = trace(net, quantizable_layers(net), net, torch.randn(1, 3, 8, 8))
    model = QuantModel(net, "net")
    qconfig = QConfig.parse({"act": {"per_channel": per_channel}})
    model.prepare(build_plan(net, found, qconfig))
    return model


def test_readers_of_one_tensor_go_together(make_wrapped: Callable[..., QuantModel]) -> None:
    model = make_wrapped("retinanet")
    model.prepare(find_adapter(model.model).plan(QConfig.parse({})))
    groups = groups_of(model)
    layer3 = {"backbone.layer3.0.conv1", "backbone.layer3.0.downsample.0"}
    assert layer3 | {"neck.lateral_convs.0.conv"} in groups
    # A level each has a site, but all are read by one weight; the neck makes levels of levels.
    head = {f"bbox_head.{branch}_convs.0.conv" for branch in ("cls", "reg")}
    assert head | {"neck.fpn_convs.3.conv", "neck.fpn_convs.4.conv"} in groups
    # Linked layers take their factor from the layer before.
    assert model.plan is not None
    linked = {after for _, after in model.plan.links}
    assert linked and all(linked.isdisjoint(group) for group in groups)


def test_what_an_operand_reads_as_well_stays() -> None:
    model = QuantClassifier(classifier_type="mmptq.CifarResNet", depth=8, num_classes=3).eval()
    model.prepare(find_adapter(model.model).plan(QConfig.parse({})))
    assert groups_of(model) == [{"conv1"}, {"linear"}]


class Mixed(nn.Module):
    """A convolution and a depthwise one read one tensor; two layers share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.b = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.c, self.d = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.d.weight = self.c.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).sigmoid()
        x = (self.a(x) + self.b(x)).sigmoid()
        return self.d(self.c(x).sigmoid())


def test_depthwise_and_tied_layers_stay() -> None:
    # Through one quantizer for both, neither can divide without the other.
    assert groups_of(prepared(Mixed(), "none")) == [{"stem"}]
    assert groups_of(prepared(Mixed())) == [{"stem"}, {"a"}]
