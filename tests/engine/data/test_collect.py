from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.engine import check_activations, check_weights, collect_statistics
from mmptq.engine.data import collect as module
from mmptq.errors import CalibrationDataError, NumericalError
from mmptq.models import QConfig, QuantDetector
from mmptq.observers import TensorStatistics

FAMILIES = ["retinanet", "faster_rcnn"]


@pytest.fixture
def prepared(make_wrapped: Any) -> Any:
    """``prepared(family, **qconfig)``: with quantizers that have no range yet."""

    def make(family: str, **qconfig: Any) -> QuantDetector:
        model = make_wrapped(family)
        model.prepare(find_adapter(model.model).plan(QConfig.parse(qconfig)))
        return model

    return make


def batches(count: int = 3) -> list[tuple[int, dict[str, Any]]]:
    """Random images of two sizes, in the collated form of a test dataloader."""
    generator = torch.Generator().manual_seed(4)
    made = []
    for i in range(count):
        shape = (96, 64) if i % 2 else (64, 96)
        image = torch.randint(0, 256, (3, *shape), generator=generator, dtype=torch.uint8)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
        )
        made.append((i, {"inputs": [image], "data_samples": [sample]}))
    return made


def read_by_hand(model: QuantDetector) -> dict[str, list[tuple[int, Tensor]]]:
    """Every site's tensors, each once, found by what the layers read (not by the plan's watch)."""
    site_of = {id(quantizer): name for name, quantizer in model.sites.items()}
    seen: dict[str, list[tuple[int, Tensor]]] = {name: [] for name in model.sites}
    image = 0
    alive: list[Tensor] = []  # so that no address is used twice

    def look(layer: Any, args: tuple[Tensor, ...]) -> None:
        if layer.next_reader is None:
            return
        tensors = seen[site_of[id(layer.next_reader)]]
        alive.append(args[0])
        if not any(t.data_ptr() == args[0].data_ptr() for i, t in tensors if i == image):
            tensors.append((image, args[0]))

    handles = [layer.register_forward_pre_hook(look) for _, layer in model.quant_layers()]
    with torch.no_grad():
        for position, batch in batches():
            image = position
            model.test_step(batch)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("per_call", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_statistics_equal_those_of_hooks_by_hand(family, per_call, prepared):
    model = prepared(family, per_call=per_call)
    found = collect_statistics(model, batches())
    by_hand = read_by_hand(model)
    assert found.keys() == by_hand.keys() == model.sites.keys()
    for name, tensors in by_hand.items():
        # The count shows that a tensor read by several layers was taken in once.
        assert found[name].count == sum(t.numel() for _, t in tensors) > 0, name
        assert found[name].low == min(t.min() for _, t in tensors), name
        assert found[name].high == max(t.max() for _, t in tensors), name
        assert found[name].zeros == sum(int((t == 0).sum()) for _, t in tensors), name
        lows, _ = found[name].image_ranges()
        per_image = [min(t.min() for i, t in tensors if i == n) for n in range(3)]
        assert torch.equal(lows, torch.stack(per_image)), name


def test_shared_tensor_has_one_site(prepared):
    model = prepared("retinanet")
    sites = {id(q): name for name, q in model.sites.items()}
    layers = dict(model.quant_layers())
    block = "backbone.layer2.0"
    readers = [layers[f"{block}.{name}"]._readers[0] for name in ("conv1", "downsample.0")]
    assert readers[0] is readers[1]
    statistics = collect_statistics(model, batches(1))[sites[id(readers[0])]]
    assert statistics.count == 8 * (64 // 4) * (96 // 4)


def test_outputs_are_seen_behind_their_relu(prepared):
    model = prepared("retinanet", target="onnxruntime")
    read = []
    model.model.backbone.maxpool.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    found = collect_statistics(model, batches())["backbone.conv1.output:0"]
    assert found.count == sum(x.numel() for x in read) and found.low >= 0.0
    assert found.high == max(x.max() for x in read)
    assert found.zeros == sum(int((x == 0).sum()) for x in read) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_float_model_is_observed_and_switches_come_back(family, make_quantized, prepared):
    plain = collect_statistics(prepared(family), batches())
    model = make_quantized(family, weight=dict(num_bits=2), act=dict(num_bits=2))
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    for i, quantizer in enumerate(quantizers):
        quantizer.enabled = i % 3 != 0
    found = collect_statistics(model, batches())
    assert [quantizer.enabled for quantizer in quantizers] == [
        i % 3 != 0 for i in range(len(quantizers))
    ]
    assert_same(found, plain)
    assert not any(layer._forward_pre_hooks for _, layer in model.quant_layers())


def assert_same(a: dict[str, TensorStatistics], b: dict[str, TensorStatistics]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        left, right = a[name].state_dict(), b[name].state_dict()
        assert left.keys() == right.keys()
        for key in left:
            equal = torch.equal if isinstance(left[key], Tensor) else lambda x, y: x == y
            assert equal(left[key], right[key]), (name, key)


def test_processes_merge_to_what_one_process_sees(prepared, monkeypatch):
    model = prepared("retinanet")
    whole = collect_statistics(model, batches())
    states: list[Any] = []

    def keep_own(state: Any) -> list[Any]:
        states.append(state)
        return [state]

    monkeypatch.setattr(module, "all_gather_object", keep_own)
    for rank in range(2):
        collect_statistics(model, batches()[rank::2])
    for order in (states, states[::-1]):
        monkeypatch.setattr(module, "all_gather_object", lambda _, order=order: order)
        # A process without images of its own takes part as well.
        assert_same(collect_statistics(model, []), whole)


def test_nan_names_layer_and_image_and_cleans_up(prepared):
    model = prepared("retinanet")
    model.model.backbone.layer2[1].conv1.bias.data[0] = float("nan")
    quantizers = [*model.weight_quantizers().values(), *model.sites.values()]
    with pytest.raises(
        NumericalError, match="'backbone.layer2.1.conv2' .*calibration image 0.*NaN"
    ):
        collect_statistics(model, batches())
    assert not any(layer._forward_pre_hooks for _, layer in model.quant_layers())
    assert not any(quantizer.enabled for quantizer in quantizers)


@pytest.mark.parametrize("family", FAMILIES)
def test_check_activations_names_the_first_layer_and_cleans_up(make_wrapped, family):
    model = make_wrapped(family)
    check_activations(model, batches())
    model.model.backbone.layer2[1].bn1.bias.data[0] = float("inf")
    read = []

    def watched():
        for position, batch in batches():
            read.append(position)
            yield position, batch

    with pytest.raises(NumericalError, match="'backbone.layer2.1.conv2' .*first calibration image"):
        check_activations(model, watched())
    assert read == [0]
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_check_weights_names_the_tensor(make_wrapped):
    model = make_wrapped("faster_rcnn")
    check_weights(model)
    model.model.backbone.bn1.running_var[2] = float("inf")
    with pytest.raises(NumericalError, match="backbone.bn1.running_var holds 1 NaN or Inf"):
        check_weights(model)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "name", ["backbone.conv1.weight", "backbone.bn1.bias", "backbone.bn1.running_mean"]
)
def test_check_weights_names_what_was_learned(name, value, make_wrapped):
    model = make_wrapped("retinanet")
    model.model.state_dict()[name].view(-1)[0] = float(value)
    with pytest.raises(NumericalError, match=f"{name} holds 1 NaN or Inf"):
        check_weights(model)


def test_check_weights_accepts_constants_of_inf(make_wrapped):
    model = make_wrapped("retinanet")
    mask = torch.full((4, 4), float("-inf")).triu(1)
    model.model.backbone.layer1[0].register_buffer("mask", mask)
    check_weights(model)
    mask[0, 0] = float("nan")
    with pytest.raises(NumericalError, match=r"layer1.0.mask holds 1 NaN or Inf"):
        check_weights(model)


def test_layers_that_no_image_reaches_are_named(prepared):
    model = prepared("faster_rcnn")
    model.model.rpn_head.test_cfg.min_bbox_size = 10_000
    with pytest.raises(CalibrationDataError) as error:
        collect_statistics(model, batches(2))
    message = str(error.value)
    assert "none of the calibration images reaches 4 layers" in message
    assert "'roi_head.bbox_head.shared_fcs.0': nothing was proposed" in message
    assert "num_images" in message
    assert "score_thr" in message
    # The remedy as it stands there is one.
    overrides = eval(message.partition("qconfig.overrides=")[2])
    assert overrides == [dict(pattern="roi_head.*", act=None)]
    model = prepared("faster_rcnn", overrides=overrides)
    model.model.rpn_head.test_cfg.min_bbox_size = 10_000
    collect_statistics(model, batches(2))


def test_remedy_takes_no_other_layer_out(prepared, monkeypatch):
    """A single layer of many; and one that shares its input with others."""
    model = prepared("retinanet")
    assert model.plan is not None
    site = next(s for s in model.plan.sites if s.owner == "backbone.layer2.0.conv1")
    merge = module.merge_processes

    def without(statistics: dict[str, TensorStatistics]) -> dict[str, TensorStatistics]:
        return merge({**statistics, site.name: TensorStatistics()})

    monkeypatch.setattr(module, "merge_processes", without)
    with pytest.raises(CalibrationDataError, match="reaches 2 layers") as error:
        collect_statistics(model, batches(1))
    overrides = eval(str(error.value).partition("qconfig.overrides=")[2])
    assert [entry["pattern"] for entry in overrides] == [
        "backbone.layer2.0.conv1",
        "backbone.layer2.0.downsample.*",
    ]


class Keywords(nn.Module):
    """Calls a layer by keyword, behind one that takes more than a tensor."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.wrapper = Options(layer.out_channels, layer.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.wrapper({"gain": 1.0}, self.layer(input=x))


class Options(nn.Conv2d):
    def forward(self, options: dict[str, float], x: Tensor) -> Tensor:
        return super().forward(x) * options["gain"]


def test_check_activations_of_layers_called_in_other_ways(make_wrapped):
    model = make_wrapped("retinanet")
    model.model.backbone.conv1 = Keywords(model.model.backbone.conv1)
    check_activations(model, batches(1))
    for layer in ("layer", "wrapper"):
        with pytest.raises(NumericalError, match=f"'backbone.conv1.{layer}' .*NaN or Inf"):
            check_activations(spoiled(model, layer), batches(1))


def spoiled(model: QuantDetector, layer: str) -> QuantDetector:
    """``model`` with an input of that layer that is not finite."""
    if layer == "layer":
        model.data_preprocessor.std.fill_(0.0)
    else:
        model.data_preprocessor.std.fill_(1.0)
        model.model.backbone.conv1.layer.weight.data[0] = float("inf")
    return model
