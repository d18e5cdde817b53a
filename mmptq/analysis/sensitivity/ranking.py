"""How well the cheap measures rank the quantizers, by the dear ones."""

import math
from collections.abc import Sequence

from scipy.stats import spearmanr

from mmptq.analysis.sensitivity.record import CHEAP, DEAR, Sensitivity

_GOOD = ("sqnr", "metric_alone")
_LEAST = 3  # a rank correlation of fewer says nothing

Correlations = dict[str, dict[str, float]]


def rank_correlations(records: Sequence[Sensitivity]) -> Correlations:
    """Spearman's rank correlation of each cheap measure with each dear one that was measured.

    ``alone`` stands among the first too: it says how far single quantizers tell what they do among
    all the others. A good signal-to-noise ratio means little harm, so its sign is turned. Where the
    dear measure is the metric, of the few quantizers that have it; its sign is turned as well.
    """
    dears = (*DEAR, "metric_alone", "metric_without")
    pairs = [(cheap, dear) for dear in dears for cheap in (*CHEAP, "alone")]
    found: Correlations = {}
    for cheap, dear in pairs:
        value = _correlation(records, cheap, dear) if cheap != dear else None
        if value is not None:
            found.setdefault(cheap, {})[dear] = value
    return found


def _correlation(records: Sequence[Sensitivity], cheap: str, dear: str) -> float | None:
    both = [(_harm(r, cheap), _harm(r, dear)) for r in records]
    known = [(a, b) for a, b in both if a is not None and b is not None]
    columns = list(zip(*known, strict=True))
    # What is the same everywhere ranks nothing.
    if len(known) < _LEAST or any(len(set(column)) == 1 for column in columns):
        return None
    return float(spearmanr(*columns).statistic)


def _harm(record: Sensitivity, measure: str) -> float | None:
    """A number that is the larger the worse."""
    value: float | None = getattr(record, measure)
    if value is None:
        return None
    if math.isnan(value):
        return math.inf
    return -value if measure in _GOOD else value
