"""What a runtime makes of the exported model, where the run exported one."""

import math
from pathlib import Path
from typing import Any

from mmptq.evaluation.result_table import Column
from mmptq.report.reading import count, dict_of, dicts_of, number, read_json, text
from mmptq.report.record import NAME as RECORD
from mmptq.report.run import Run
from mmptq.report.section import Section, folded, paragraph, table

FILE = "quantized.json"
_WORST = 10


def export_section(run: Run) -> Section | None:
    """The check of the export; ``None`` where the run exported nothing.

    Raises:
        MmptqError: The file cannot be read.
    """
    path = run.folder / FILE
    if not path.is_file() or not _is_of(run, path):
        return None
    found = dict_of(read_json(path), str(path))
    layers = dicts_of(found.get("layers"), f"{path}: layers")
    parts = [_figures(found, layers)]
    if not any(row.runtime for row in run.results.rows):
        said = (
            "The check failed, or the test in the runtime did not end: no result is of this file."
        )
        parts.append(paragraph(said, "note"))
    off = sorted((x for x in layers if number(x, "far") > 0), key=lambda x: -number(x, "far"))
    if off:
        title = f"The layers with most outputs off by more than a step: {min(_WORST, len(off))}"
        parts.append(folded(title, _layers(off[:_WORST])))
    title = f"Exported: {text(found, 'part')} in {text(found, 'runtime')}"
    return Section("export", title, "\n".join(parts))


def _is_of(run: Run, path: Path) -> bool:
    """Whether the file is of this run, not of an earlier one in the same work dir."""
    if any(row.runtime for row in run.results.rows):
        return True
    record = run.folder / RECORD
    return record.is_file() and path.stat().st_mtime >= record.stat().st_mtime


def _figures(found: dict[str, Any], layers: list[dict[str, Any]]) -> str:
    images = count(found, "images")
    exact = sum(number(layer, "far") == 0 for layer in layers)
    rows = [
        ("file, MB", _pair(found, "megabytes", "float_megabytes", ".2f")),
        ("one image, ms", _pair(found, "milliseconds", "float_milliseconds", ".1f")),
        (
            "products in integers",
            (f"{count(found, 'integers')} of {count(found, 'products')}", ""),
        ),
        ("layers with all outputs within a step", (f"{exact} of {len(layers)}", "")),
        ("images with the simulation's results", (f"{count(found, 'close')} of {images}", "")),
        ("detections that are the simulation's", (_share(found, "agreement"), "")),
    ]
    return table(
        [
            Column("", [name for name, _ in rows], numeric=False),
            Column("quantized", [pair[0] for _, pair in rows]),
            Column("float", [pair[1] for _, pair in rows]),
        ],
        caption="export",
    )


def _pair(found: dict[str, Any], own: str, other: str, form: str) -> tuple[str, str]:
    return f"{number(found, own):{form}}", f"{number(found, other):{form}}"


def _share(found: dict[str, Any], key: str) -> str:
    value = number(found, key)
    return f"{100 * value:.1f} %" if math.isfinite(value) else ""


def _layers(layers: list[dict[str, Any]]) -> str:
    return table(
        [
            Column("layer", [text(layer, "name") for layer in layers], numeric=False),
            Column("outputs off", [_share(layer, "far") for layer in layers]),
            Column("by up to, steps", [f"{number(layer, 'largest'):.0f}" for layer in layers]),
        ],
        caption="layers that differ",
    )
