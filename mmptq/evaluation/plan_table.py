"""What ``--dry-run`` shows: every layer, its bits, its cost, and what stays float."""

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mmptq.evaluation.cost import PRODUCTS, LayerCost, ModelCost
from mmptq.evaluation.profile import LayerProfile
from mmptq.models import OUTPUT, LayerPlan, Plan, SitePlan, TensorSpec
from mmptq.modules import OUTPUTS

_FLOAT = "float"


def plan_table(plan: Plan, cost: ModelCost) -> Group:
    """The plan as a rich table with a summary below.

    Args:
        plan: What is quantized how.
        cost: Of the float model's profile under this plan (:func:`mmptq.evaluation.model_cost`).
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for title in ("layer", "kind", "roles", "weight", "input"):
        table.add_column(title, overflow="fold")
    for title in ("calls", "MACs", "share"):
        table.add_column(title, justify="right", no_wrap=True)
    planned = {layer.name: layer for layer in plan.layers}
    sites = {site.name: site for site in plan.sites}
    readers = _reader_counts(plan)
    for layer in cost.layers:
        entry = planned.get(layer.name)
        if entry is None:
            described = ("", _FLOAT, _why_float(layer))
        else:
            described = (
                " ".join(entry.roles),
                _describe_weight(entry.weight, layer.profile),
                _describe_input(entry, sites, readers)
                + _describe_output(planned.get(f"{layer.name}.{OUTPUT}"), sites),
            )
        table.add_row(
            layer.name,
            layer.profile.kind,
            *described,
            str(layer.calls),
            format_count(layer.macs),
            format_share(layer.macs, cost.macs),
            style=None if layer.quantized else "dim" if entry is None else "yellow",
        )
    for product in cost.products:
        row = (product.name or "-", f"{PRODUCTS} {product.kind}", "", _FLOAT, _FLOAT, "")
        macs = (format_count(product.macs), format_share(product.macs, cost.macs))
        table.add_row(*row, *macs, style="dim")
    return Group(table, Text("\n".join(plan_summary(plan, cost))))


def plan_summary(plan: Plan, cost: ModelCost) -> list[str]:
    """A few lines of text: how much is quantized, what is not, and what it saves."""
    executed = [layer for layer in cost.layers if layer.calls]
    quantized = [layer for layer in executed if layer.quantized]
    height, width = cost.input_shape
    lines = [
        f"scope {plan.scope}: {len(quantized)} of {len(executed)} layers have quantized weights "
        f"and inputs, {format_share(cost.mac_share, 1)} of "
        f"{format_count(cost.macs)} MACs at {height}x{width}",
        f"{len(plan.sites)} activation quantizers; {len(plan.folds)} batch norms folded",
        f"size {cost.float_size_mb:.2f} MB -> {cost.size_mb:.2f} MB "
        f"({cost.float_bytes / cost.packed_bytes:.1f}x); bit operations "
        f"{cost.macs * 1024 / 1e9:,.1f} G -> {cost.gbops:,.1f} G "
        f"({cost.macs * 1024 / max(cost.bops, 1):.1f}x)",
    ]
    if plan.target is not None:
        lines.append(_describe_target(plan))
    planned = {layer.name for layer in plan.layers}
    by_choice = [x.name for x in executed if x.name in planned and not x.quantized]
    unsupported = [x for x in executed if x.name not in planned]
    products = [f"{x.name or 'the detector'} ({x.kind})" for x in cost.products]
    unused = [x.name for x in cost.layers if not x.calls]
    lines += _listing("float operand (by the scope or an override)", by_choice)
    lines += _listing(
        "no quantized form, stays float", [f"{x.name} ({x.profile.kind})" for x in unsupported]
    )
    lines += _listing("products beside the layers, stay float", products)
    lines += _listing("never ran, stays float", unused)
    if cost.describe_float():
        lines.append(f"MACs in float: {cost.describe_float()}")
    return lines


def _listing(title: str, names: Sequence[str]) -> list[str]:
    return [f"{title}: {len(names)}: {', '.join(names)}"] if names else []


def _why_float(layer: LayerCost) -> str:
    return "float (no quantized form)" if layer.calls else "float (never ran)"


def _describe_weight(spec: TensorSpec | None, layer: LayerProfile) -> str:
    if layer.other is not None:
        return f"times {layer.other.rpartition('.')[2]}"
    if not layer.numel:  # an operand of an addition
        return "-"
    if spec is None:
        return _FLOAT
    granularity = "per channel" if spec.per_channel else "per tensor"
    return f"{_describe(spec)} {granularity}"


def _describe(spec: TensorSpec) -> str:
    kind = "sym" if spec.symmetric else "affine"
    quantizer = "" if spec.type == "UniformQuantizer" else f" {spec.type}"
    return f"{spec.num_bits:g} bit {kind}{quantizer}"


def _reader_counts(plan: Plan) -> dict[str, int]:
    """How many layers read through each site."""
    counts = {site.name: 0 for site in plan.sites}
    for layer in plan.layers:
        for site in set(layer.inputs):
            if site is not None:
                counts[site] += 1
    return counts


def _describe_input(layer: LayerPlan, sites: dict[str, SitePlan], readers: dict[str, int]) -> str:
    names = [site for site in layer.inputs if site is not None]
    if not names:
        return _FLOAT
    # All calls of a layer share one spec; a different one would need a layer of its own.
    text = _describe(sites[names[0]].spec)
    if sites[names[0]].channels is not None:
        text += " per channel"
    distinct = len(set(names))
    if distinct > 1:
        text += f", {distinct} quantizers"
    owners = {name.rpartition(":")[0] for name in names} - {layer.name}
    if owners:
        return f"{text}, shared with {', '.join(sorted(owners))}"
    return f"{text}, shared" if max(readers[name] for name in names) > 1 else text


def _describe_output(output: LayerPlan | None, sites: dict[str, SitePlan]) -> str:
    names = [site for site in output.inputs if site is not None] if output else []
    return f"; output {_describe(sites[names[0]].spec)}" if names else ""


def _describe_target(plan: Plan) -> str:
    outputs = sum(layer.kind in OUTPUTS for layer in plan.layers)
    return (
        f"target {plan.target}: quantized outputs of {outputs} layers, rounded biases in "
        f"{len(plan.int32_bias)} calls of layers"
    )


def format_count(number: float) -> str:
    """Of operations, in three digits."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:g}"


def format_share(part: float, whole: float) -> str:
    """``part`` of ``whole`` in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
