"""Why a quantized model collapsed, and what to do about it."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmptq.analysis.blame import Blame, find_blame, overrides
from mmptq.engine import CalibrationContext
from mmptq.evaluation import ResultRow, Results
from mmptq.evaluation.result_table import metric_keys
from mmptq.fileio import plain, save_text

# A row that loses more than this share of the float model's metric is explained.
COLLAPSE = 0.2

FILE_NAME = "more_bits.py"


def explain_collapse(
    context: CalibrationContext, results: Results, qconfig: Mapping[str, Any], work_dir: str
) -> list[str]:
    """Name the layers to blame if the last row lost more than a fifth of the float accuracy.

    A ``qconfig`` that keeps them in more bits goes to ``<work_dir>/more_bits.py``.

    Args:
        context: With the model of the last row.
        results: All rows.
        qconfig: That it was made with.
        work_dir: Where the file goes.

    Returns:
        What is logged, in lines; none where there is nothing to explain, or on other processes.
    """
    lost = lost_share(results)
    if lost is None or lost <= COLLAPSE:
        return []
    blamed = find_blame(context)
    if not is_main_process():
        return []
    row, path = results.rows[-1], Path(work_dir) / FILE_NAME
    old = plain(qconfig)
    assert context.model.plan is not None
    first = overrides(blamed, context.model.plan)
    new = {**old, "overrides": [*first, *(old.get("overrides") or [])]}
    save_text(path, Config({"qconfig": new}).pretty_text)
    lines = _lines(row, lost, blamed, path)
    print_log("\n".join(lines), logger="current", level=logging.WARNING)
    return lines


def lost_share(results: Results) -> float | None:
    """Share of the float model's main metric that the last row lost; ``None`` if not measured.

    A metric that is missing, as where nothing was detected at all, is lost whole.
    """
    reference, keys = results.float_row, metric_keys(results.rows)
    if reference is None or not keys or results.rows[-1].is_float:
        return None
    value = reference.metrics.get(keys[0], math.nan)
    if not value > 0:
        return None
    left = results.rows[-1].metrics.get(keys[0], 0.0)
    return 1.0 - max(left, 0.0) / value if left == left else 1.0


def _lines(row: ResultRow, lost: float, blamed: list[Blame], path: Path) -> list[str]:
    return [
        f"{row.method} at {row.bits} lost {100 * lost:.0f} % of the float model's accuracy. What "
        "single quantizers do to the heads' outputs, all else in float (error: share of the "
        "outputs' variance), the worst:",
        *(f"  {blame.describe()}" for blame in blamed),
        f"to keep these in more bits: --qconfig {path}",
    ]
