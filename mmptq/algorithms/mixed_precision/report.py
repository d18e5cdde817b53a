"""What was tried and chosen: in the log, as JSON, as a picture, and as a qconfig."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from rich import box
from rich.table import Table

from mmptq.algorithms.mixed_precision.candidates import Candidate
from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE, Costs
from mmptq.algorithms.mixed_precision.groups import allocated_plan, chosen_bits
from mmptq.algorithms.mixed_precision.harm import Harm, total
from mmptq.algorithms.mixed_precision.picture import draw_bits
from mmptq.evaluation import render
from mmptq.fileio import save_json, save_text
from mmptq.models import Plan
from mmptq.models.bits import bits_overrides
from mmptq.models.stages import in_order

NAME = "mixed_precision"


def report(
    folder: Path,
    costs: Costs,
    harm: Harm,
    tried: Sequence[Candidate],
    chosen: Candidate,
    qconfig: Mapping[str, Any],
    plan: Plan,
) -> None:
    """Tell of an allocation.

    Args:
        folder: The work dir.
        costs: Of the groups.
        harm: Estimated, of each choice.
        tried: What was measured.
        chosen: One of it.
        qconfig: That ``plan`` was made from.
        plan: Of the model before.

    Raises:
        MmptqError: A file cannot be written.
    """
    if not is_main_process():
        return
    groups, bits = costs.groups, chosen_bits(costs.groups, chosen.allocation)
    changed = allocated_plan(plan, groups, chosen.allocation)
    overrides = [*bits_overrides(plan, changed), *(qconfig.get("overrides") or [])]
    rows = [
        {
            "label": c.label,
            **costs(c.allocation),
            "harm": total(harm, c.allocation),
            "loss": c.loss,
            "drop": c.drop,
            "chosen": c == chosen,
        }
        for c in tried
    ]
    content = {
        "tried": rows,
        "groups": [
            {
                "name": group.name,
                "which": group.which,
                "layers": group.layers,
                "stage": group.stage,
                "bits": num_bits,
                "fixed": group.fixed,
                "harm": dict(zip(map(str, group.choices), values, strict=True)),
            }
            for group, num_bits, values in zip(groups, bits, harm, strict=True)
        ],
    }
    save_json(folder / f"{NAME}.json", content)
    path = folder / f"{NAME}_qconfig.py"
    save_text(path, Config({"qconfig": {**qconfig, "overrides": overrides}}).pretty_text)
    draw_bits(groups, bits, folder / f"{NAME}.png")
    print_log(
        f"\n{render(_tried_table(rows))}\n{render(_stage_table(costs, bits))}\n"
        f"the same bits again: --qconfig {path}; {folder / NAME}.json, {folder / NAME}.png",
        logger="current",
    )


def _tried_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Allocations, the chosen one bold."""
    measured = "drop" if rows[0]["loss"] is None else "loss"
    table = Table("allocation", box=box.SIMPLE_HEAD, title="mixed precision", title_justify="left")
    for title in ("MB", "GBOPs", "estimated distance", f"measured {measured}"):
        table.add_column(title, justify="right")
    for row in rows:
        cells = (f"{row[key]:.4g}" for key in (SIZE, GBOPS, "harm", measured))
        table.add_row(row["label"], *cells, style="bold" if row["chosen"] else None)
    return table


def _stage_table(costs: Costs, bits: Sequence[float]) -> Table:
    """Mean bits of a stage's weights, by their size, and the range of its activations' bits."""
    table = Table("stage", box=box.SIMPLE_HEAD)
    for title in ("weights, mean bits", "activations, bits"):
        table.add_column(title, justify="right")
    for stage in in_order(group.stage for group in costs.groups):
        sizes, acts = [], []
        for group, num_bits, size in zip(costs.groups, bits, costs.size, strict=True):
            if group.stage == stage and group.which == "weight":
                sizes.append((size, num_bits))
            elif group.stage == stage:
                acts.append(num_bits)
        whole = sum(size for size, _ in sizes)
        mean = f"{sum(s * b for s, b in sizes) / whole:.1f}" if whole else "-"
        spread = (
            "-"
            if not acts
            else f"{min(acts):g}"
            if min(acts) == max(acts)
            else (f"{min(acts):g} to {max(acts):g}")
        )
        table.add_row(stage, mean, spread)
    return table
