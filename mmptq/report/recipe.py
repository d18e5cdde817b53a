"""What the recipe did: its steps, and the curves of those that log any."""

import json
from collections.abc import Callable
from typing import Any

from mmptq.evaluation.result_table import format_seconds
from mmptq.evaluation.verdict import Verdict
from mmptq.report.mixed import mixed_choices
from mmptq.report.run import Run
from mmptq.report.searches import interpolation_curve, search_curve
from mmptq.report.section import Section, paragraph
from mmptq.report.units import unit_curves
from mmptq.webpage import for_html

# Steps that log a search or a choice, by their type; all others may have adjusted units.
_LOGGED: dict[str, Callable[[Run], str]] = {
    "LpInterpolation": interpolation_curve,
    "JointSearch": search_curve,
    "MixedPrecision": mixed_choices,
}


def recipe_section(run: Run) -> Section:
    """Steps with their arguments, then each step's curves."""
    parts = [f"<ol>{''.join(_step(step) for step in run.steps)}</ol>"] if run.steps else []
    if run.row is not None and run.row.seconds is not None:
        parts.append(paragraph(f"The calibration took {format_seconds(run.row.seconds)}.", "dim"))
    for verdict in map(Verdict.from_json, run.results.calibration.get("verdicts", ())):
        parts.append(paragraph(f"{verdict}.", "" if verdict.kept else "note"))
    for kind in dict.fromkeys(step["type"] for step in run.steps):
        found = _LOGGED[kind](run) if kind in _LOGGED else unit_curves(run, kind)
        if found:
            parts.append(f"<h3>{for_html(kind)}</h3>\n{found}")
    return Section("recipe", f"The recipe: {run.method}", "\n".join(parts))


def _step(step: dict[str, Any]) -> str:
    said = ", ".join(f"{k} = {_value(v)}" for k, v in step.items() if k != "type")
    kind = for_html(step["type"])
    return f'<li>{kind} <span class="dim">{for_html(said)}</span></li>'


def _value(value: Any) -> str:
    """As JSON, but for what all steps are made of: types with arguments."""
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        rest = ", ".join(f"{k}={_value(v)}" for k, v in value.items() if k != "type")
        return f"{value['type']}({rest})" if rest else value["type"]
    return json.dumps(value, ensure_ascii=False, default=str)
