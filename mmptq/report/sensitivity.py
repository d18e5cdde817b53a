"""Which quantizers hurt, where ``tools/analyze.py sensitivity`` has measured it in the work dir."""

import math
from pathlib import Path
from typing import Any

from mmptq.evaluation.result_table import NOTHING, Column
from mmptq.report.reading import dict_of, dicts_of, number, read_json, text
from mmptq.report.run import Run
from mmptq.report.section import Bars, Section, folded, paragraph, table
from mmptq.webpage import for_html

_PLACES = ("analysis/sensitivity.json", "sensitivity.json")
_WORST = 20
_BIT_WIDTHS = 6  # that are shown


def sensitivity_section(run: Run) -> Section | None:
    """The worst quantizers and the stages' sums at each bit-width; ``None`` where not measured.

    Raises:
        MmptqError: The file cannot be read.
    """
    path = next((run.folder / p for p in _PLACES if (run.folder / p).is_file()), None)
    if path is None:
        return None
    data = dict_of(read_json(path), str(path))
    found = dict_of(data.get("results"), f"{path}: results")
    parts = [paragraph(_about(data, run), "dim")]
    for label, one in list(found.items())[:_BIT_WIDTHS]:
        parts += _of_bits(label, dict_of(one, f"{path}: results.{label}"), path)
    if len(found) > _BIT_WIDTHS:
        parts.append(paragraph(f"{len(found) - _BIT_WIDTHS} more are in {path.name}.", "note"))
    return Section("sensitivity", "Sensitivity: which quantizers hurt", "\n".join(parts))


def _about(data: dict[str, Any], run: Run) -> str:
    measured_on = str(data.get("checkpoint") or "")
    weights = run.results.float_checkpoint or ""
    other = (
        ""
        if not measured_on or Path(measured_on).name == Path(weights).name
        else f" It was measured on other float weights: {measured_on}."
    )
    return (
        f"By tools/analyze.py sensitivity, on {data.get('images', '?')} images, scope "
        f"{data.get('scope', '?')}. alone: the share of the variance of the heads' outputs that "
        "goes wrong with it alone quantized, measured; estimate: the same to second order, from "
        f"one backward pass; gain: what sparing it brings.{other}"
    )


def _of_bits(label: str, values: dict[str, Any], path: Path) -> list[str]:
    where = f"{path}: results.{label}"
    records = sorted(dicts_of(values.get("records"), f"{where}.records"), key=lambda r: -_harm(r))
    stages = dicts_of(values.get("stages"), f"{where}.stages")
    distance = number(values, "distance")
    together = "" if math.isnan(distance) else f"; all together {distance:.3g}"
    return [
        f"<h3>{for_html(f'{label}: {len(records)} quantizers{together}')}</h3>",
        table(
            [
                Column("stage", [text(s, "stage") for s in stages], numeric=False),
                Column("quantizers", [_figure(s, "quantizers") for s in stages]),
                Bars("alone, summed", [_harm(s) for s in stages], [_harm_text(s) for s in stages]),
                Column("estimate", [_figure(s, "projected") for s in stages]),
                Column("gain", [_figure(s, "rest") for s in stages]),
            ],
            caption="sensitivity by stage",
        ),
        folded(f"The {min(_WORST, len(records))} worst quantizers", _worst(records[:_WORST])),
    ]


def _worst(records: list[dict[str, Any]]) -> str:
    return table(
        [
            Column("quantizer", [text(r, "name") for r in records], numeric=False),
            Column("stage", [text(r, "stage") for r in records], numeric=False),
            Bars("alone", [_harm(r) for r in records], [_harm_text(r) for r in records]),
            Column("estimate", [_figure(r, "projected") for r in records]),
            Column("gain", [_figure(r, "rest") for r in records]),
            Column("SQNR, dB", [_figure(r, "sqnr") for r in records]),
        ],
        caption="worst quantizers",
    )


def _harm(values: dict[str, Any]) -> float:
    """What was measured, else the estimate; what is not finite is the worst."""
    measured = values.get("alone") is not None
    value = number(values, "alone" if measured else "projected")
    return value if math.isfinite(value) else math.inf


def _harm_text(values: dict[str, Any]) -> str:
    harm = _harm(values)
    text_of = f"{harm:.3g}" if math.isfinite(harm) else "not finite"
    return text_of if values.get("alone") is not None else f"{text_of} (estimate)"


def _figure(values: dict[str, Any], key: str) -> str:
    value = number(values, key)
    return NOTHING if math.isnan(value) else f"{value:.3g}"
