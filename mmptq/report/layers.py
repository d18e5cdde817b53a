"""Bits and multiply-adds of each layer, and their sums by bits."""

import math
from collections import defaultdict
from collections.abc import Sequence

from mmptq.evaluation.plan_table import format_count, format_share
from mmptq.evaluation.result_table import Column
from mmptq.report.record import Layer, RunRecord
from mmptq.report.run import Run
from mmptq.report.section import Bars, Section, folded, paragraph, table

_FLOAT = 32.0
_MOST = 1500  # layers in the page


def layers_section(run: Run) -> Section:
    """A line a layer, in the order of execution."""
    record = run.record
    if record is None or not record.layers:
        said = "Not recorded: the run was made by an older version, or without its report."
        return Section("layers", "Layers", paragraph(said, "note"))
    total = sum(layer.macs for layer in record.layers) + sum(record.products.values())
    shown = [layer for layer in record.layers if layer.calls][:_MOST]
    parts = [paragraph(_about(record, total), "dim"), _by_bits(record.layers, total)]
    parts.append(folded(f"Each of {len(shown)} layers", _each(shown, total)))
    left_out = sum(bool(layer.calls) for layer in record.layers) - len(shown)
    if left_out:
        parts.append(paragraph(f"{left_out} more layers are in run.json.", "note"))
    if record.products:
        named = ", ".join(
            f"{name} {format_share(macs, total)}" for name, macs in record.products.items()
        )
        parts.append(paragraph(f"Multiplied in float beside the layers: {named}."))
    unused = [layer.name for layer in record.layers if not layer.calls]
    if unused:
        parts.append(paragraph(f"Never ran: {', '.join(unused[:_MOST])}."))
    return Section("layers", "Bits and MACs of each layer", "\n".join(parts))


def _about(record: RunRecord, total: int) -> str:
    shape = "x".join(map(str, record.input_shape))
    return (
        f"{format_count(total)} multiply-adds (MACs) for one image{f' of {shape}' if shape else ''}"
        "; W and A are the bits of weights and of what they are multiplied by."
    )


def _by_bits(layers: Sequence[Layer], total: int) -> str:
    groups: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        if layer.calls:
            groups[_bits(layer)].append(layer)
    sums = {bits: sum(layer.macs for layer in group) for bits, group in groups.items()}
    order = sorted(groups, key=lambda bits: -sums[bits])
    stored = [sum(_stored(layer) for layer in groups[bits]) for bits in order]
    return table(
        [
            Column("bits", order, numeric=False),
            Column("layers", [str(len(groups[bits])) for bits in order]),
            Bars(
                "share of the MACs",
                [sums[bits] for bits in order],
                [format_share(sums[bits], total) for bits in order],
            ),
            Column("weights, MB", [f"{size / 1e6:.3f}" for size in stored]),
        ],
        caption="layers by bits",
    )


def _each(layers: Sequence[Layer], total: int) -> str:
    return table(
        [
            Column("layer", [layer.name for layer in layers], numeric=False),
            Column("kind", [layer.kind for layer in layers], numeric=False),
            Column("part", [" ".join(layer.roles) for layer in layers], numeric=False),
            Column("bits", [_bits(layer) for layer in layers], numeric=False),
            Column("calls", [str(layer.calls) for layer in layers]),
            Column("MACs", [format_count(layer.macs) for layer in layers]),
            Bars(
                "share",
                [layer.macs for layer in layers],
                [format_share(layer.macs, total) for layer in layers],
            ),
            Column("weight, kB", [f"{_stored(layer) / 1e3:.1f}" for layer in layers]),
        ],
        ["" if layer.quantized else "base" for layer in layers],
        "layers",
    )


def _bits(layer: Layer) -> str:
    if layer.weight_bits >= _FLOAT and all(bits >= _FLOAT for bits in layer.input_bits):
        return "float"
    inputs = "/".join(f"{bits:g}" for bits in layer.input_bits)
    return f"W{layer.weight_bits:g}A{inputs}"


def _stored(layer: Layer) -> float:
    return layer.weight_bytes if math.isfinite(layer.weight_bytes) else 0.0
