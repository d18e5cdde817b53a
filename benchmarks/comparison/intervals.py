"""How a row differs from the float model, from min-max, and from the best choice of ranges.

Both are measured on the same drawn test images (paired bootstrap, mmptq/evaluation/bootstrap.py).
The draws lie in the work dir; the intervals are kept beside the cells, for machines without it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import Cells

from comparison.groups import Figures, Group, find_group
from comparison.methods import METHODS
from comparison.specs import Spec, find_specs

FLOAT, MINMAX, BEST = "float", "minmax", "best"
PERCENTILES = (2.5, 97.5)


def intervals_file(cells: Path) -> Path:
    """Beside the file of the cells."""
    return cells.with_name(f"{cells.stem}_intervals.json")


def compare(group: Group, references: Mapping[str, Group], work_dir: Path) -> dict[str, Any]:
    """A row's differences to others.

    Args:
        group: The row.
        references: By what they are called, on the same seeds.
        work_dir: Where the draws lie.

    Returns:
        ``seeds``; and for each reference, where both have draws,
        ``{"method", "difference", "low", "high"}``, in points of the metric.
    """
    found: dict[str, Any] = {"seeds": group.seeds}
    ours = group.draws(work_dir)
    for name, reference in references.items():
        theirs = reference.draws(work_dir)
        if ours is None or theirs is None:
            continue
        low, high = np.nanpercentile(ours - theirs, PERCENTILES)
        spec = reference.cells[0].spec
        found[name] = {
            "method": spec.name if spec else FLOAT,
            "difference": round(group.spread()[0] - reference.spread()[0], 2),
            "low": round(float(low), 2),
            "high": round(float(high), 2),
        }
    return found


def references(
    values: Mapping[str, Figures], group: Group, against: Sequence[Spec] = ()
) -> dict[str, Group]:
    """What a row is compared with: float, min-max, the best choice of ranges, and others.

    As far as they are measured with all seeds of the row; a row is not compared with itself.
    """
    minmax, *others = (_row(values, group, spec) for spec in [*find_specs([MINMAX]), *against])
    baselines = find_specs([key for key, method in METHODS.items() if method.baseline])
    ranges = [found for spec in baselines if (found := _row(values, group, spec))]
    wanted = {
        FLOAT: find_group(values, group.cells[0].model),
        MINMAX: minmax,
        BEST: max(ranges, key=lambda row: row.spread()[0], default=None),
        **{spec.name: found for spec, found in zip(against, others, strict=True)},
    }
    return {name: row for name, row in wanted.items() if row and row.name != group.name}


def _row(values: Mapping[str, Figures], group: Group, spec: Spec) -> Group | None:
    """Another method in the column of ``group``, on its seeds."""
    cell = group.cells[0]
    found = find_group(values, cell.model, spec, cell.column, cell.images)
    return found.on_seeds(group.seeds) if found else None


def refresh(
    kept: Cells,
    values: Mapping[str, Figures],
    group: Group,
    work_dir: Path,
    against: Sequence[Spec] = (),
) -> None:
    """Keep a row's differences, as far as the draws of this machine tell them.

    What is kept of the same seeds and cannot be told here stays.
    """
    old = kept.values.get(group.name, {})
    found = compare(group, references(values, group, against), work_dir)
    new = {**(old if old.get("seeds") == group.seeds else {}), **found}
    if new != old and len(new) > 1:
        kept.put(group.name, new)
