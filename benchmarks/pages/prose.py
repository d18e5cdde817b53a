"""The numbers in the prose of docs/start/ and docs/results.md, paragraph by paragraph.

Differences are of what the tables are made of, not of what they round.
"""

from collections.abc import Iterable
from math import hypot
from statistics import mean, stdev

from pages.lapq import GRIDS as LAPQ
from pages.measured import cells_of, cells_over_seeds, mean_cell, records
from pages.numbers import Figures

RETINANET, FASTER = "RetinaNet-R18", "Faster R-CNN-R18"
MODELS = (RETINANET, FASTER)
SEEDS = tuple(range(10))
COLUMNS = ("W4A4", "W3A3", "W2A4", "W2A2")
RECONSTRUCTIONS = ("adaround", "brecq", "qdrop", "direct", "progressive", "bitshrink")


def one(value: float) -> str:
    """With one digit behind the point; nothing is minus zero."""
    return f"{value:.1f}".replace("-0.0", "0.0")


def whole(values: Iterable[float]) -> list[str]:
    return [f"{value:.0f}" for value in values]


def extremes(values: Iterable[float]) -> list[float]:
    """The least and the largest."""
    ordered = sorted(values)
    return [ordered[0], ordered[-1]]


def ends(values: Iterable[float]) -> list[str]:
    """The least and the largest as text."""
    return [one(value) for value in extremes(values)]


def observed(model: str, *rest: str) -> float:
    """Of bccd_observers.json, mAP."""
    return cells_of("bccd_observers")["/".join((model, *rest))]["bbox_mAP"]


def observed_change(model: str, start: str) -> float:
    """Mean difference to float of the cells whose names begin so: of several choices."""
    names = [name for name in cells_of("bccd_observers") if f"{name}/".startswith(f"{start}/")]
    return mean(observed(name) for name in names) - observed(model, "float")


def recipe_change(model: str, column: str, variant: str) -> float:
    """Difference to float of default_recipe.json, mean over the seeds."""
    found = cells_over_seeds("default_recipe", f"{model}/{column}/{variant}/seed{{seed}}", SEEDS)
    return mean_cell(found)["metric"] - cells_of("default_recipe")[model]["metric"]


def largest_loss(columns: Iterable[str], variant: str, but: Iterable[str] = ()) -> float:
    """Of a variant against float, over the models that it was measured on."""
    losses = []
    for column in columns:
        names = [name.split("/") for name in cells_of("default_recipe")]
        models = {n[0] for n in names if n[1:-1] == [column, *variant.split("/")]}
        losses += [-recipe_change(m, column, variant) for m in models.difference(but)]
    return max(losses)


def bccd(model: str, column: str, method: str) -> float:
    """Of bccd_reconstruction.json, mAP, mean over the seeds."""
    name = f"{model}/{column}/32x100x2/seed{{seed}}/{method}"
    return mean_cell(cells_over_seeds("bccd_reconstruction", name, SEEDS))["bbox_mAP"]


def ahead(column: str) -> list[str]:
    """Points of Bit-shrinking over `direct`, of both models."""
    return [one(bccd(m, column, "bitshrink") - bccd(m, column, "direct")) for m in MODELS]


def below_float(model: str, column: str, *methods: str) -> list[float]:
    return [observed(model, "float") - bccd(model, column, method) for method in methods]


def unit_losses(model: str, column: str, method: str, seeds: Iterable[int] = (0,)) -> list[float]:
    cells = cells_of("bccd_reconstruction")
    names = (f"{model}/{column}/32x100x2/seed{seed}/{method}" for seed in seeds)
    return [cells[name]["unit_losses_after"] for name in names]


def less(model: str, column: str, seeds: Iterable[int] = (0,)) -> float:
    """Percent that Bit-shrinking leaves less of the units' loss than `direct`."""
    seeds = tuple(seeds)
    ours, theirs = (sum(unit_losses(model, column, m, seeds)) for m in ("bitshrink", "direct"))
    return 100 * (1 - ours / theirs)


def less_without_dropping(file: str, key: str) -> list[float]:
    """Percent of the units' loss, of every cell that was measured with dropping, too."""
    cells, sign = cells_of(file), "drop_prob=0.5"
    pairs = {n: n.removesuffix(sign)[:-1] for n in cells if n.endswith(sign)}
    return [100 * (1 - cells[n][key] / cells[d][key]) for d, n in pairs.items() if n in cells]


def top1(method: str, column: str, model: str = "resnet20") -> list[float]:
    """Of cifar10_reconstruction.json, by seed."""
    end = "/250 iters" if model == "resnet56" and method not in ("mmse", "l2.4") else ""
    name = f"{model}/{column}/{method}/seed{{seed}}{end}"
    return [c["top1"] for c in cells_over_seeds("cifar10_reconstruction", name, SEEDS)]


def top1_over(method: str, other: str, column: str, model: str = "resnet20") -> float:
    return mean(top1(method, column, model)) - mean(top1(other, column, model))


def peak_gb(model: str) -> str:
    """The most memory that a process took on BCCD, in GB."""
    cells = cells_of("bccd_reconstruction")
    most = max(c.get("peak_mb", 0) for name, c in cells.items() if name.startswith(f"{model}/"))
    return one(most / 1000)


def released(row: int, column: str) -> float:
    """Top-1 of QDrop's released code: by the MSE observer (0), by QDrop (1)."""
    record = records()["resnet20_release"]
    return float(record["rows"][row][record["columns"].index(column)])


def two_bit_drops() -> list[str]:
    methods = (*RECONSTRUCTIONS, "lapq+bitshrink")
    return ends([drop for m in MODELS for drop in below_float(m, "W2A4", *methods)])


def summary_ten_sets() -> list[str | None]:
    seeds = LAPQ["lapq_seeds_faster_rcnn"]
    two = [f"{seeds.figure(row, 1, 'metric'):.2f}" for row in ("LAPQ", "kl")]
    return list(two)


def packed_demo() -> list[str | None]:
    row = records()["packed"]["rows"][0]
    return [row[2], row[1]]


def bit_shrinking_losses() -> list[str | None]:
    both, three = ("bitshrink", "direct"), range(3)
    return [
        f"{less(RETINANET, 'W2A4', three):.0f}",
        *(x for m in both for x in whole(unit_losses(RETINANET, "W2A4", m, three))),
        f"{less(FASTER, 'W2A4'):.0f}",
        *(x for m in both for x in whole(unit_losses(FASTER, "W2A4", m))),
        *ahead("W2A4"),
        *(x for m in both for x in whole(unit_losses(RETINANET, "W4A4", m, three))),
        *(x for m in both for x in whole(unit_losses(FASTER, "W4A4", m))),
        f"{mean(less(m, 'W3A3') for m in MODELS):.0f}",
        *ahead("W3A3"),
    ]


def bit_shrinking_behind() -> list[str | None]:
    places = [(FASTER, "W4A4"), *((model, "backbone_neck-W4A4") for model in MODELS)]
    return list(
        ends(
            max(bccd(*place, method) for method in RECONSTRUCTIONS) - bccd(*place, "bitshrink")
            for place in places
        )
    )


def resnet20_direct() -> list[str | None]:
    found: list[str | None] = []
    for column in ("W3A3", "W2A2"):
        ours, theirs = (top1(method, column) for method in ("bitshrink", "direct"))
        found += [one(mean(ours) - mean(theirs)), one(hypot(stdev(ours), stdev(theirs)))]
    found += [one(top1_over("bitshrink", "direct", column)) for column in ("W4A4", "W2A4")]
    return [*found, *ends(top1_over("bitshrink", "progressive", column) for column in COLUMNS)]


def resnet56_order() -> list[str | None]:
    near = [mean(top1(m, "W4A4", "resnet56")) for m in ("qdrop", "direct", "bitshrink")]
    target = cells_of("cifar10_reconstruction")["resnet56/float"]["top1"]
    far = max(mean(top1(m, "W4A4", "resnet56")) for m in ("adaround", "brecq"))
    drops = ends(target - value for value in near)
    return [one(max(near) - min(near)), *drops, one(min(near) - far)]


def resnet56_direct() -> list[str | None]:
    over = {m: [top1_over("bitshrink", m, c, "resnet56") for c in COLUMNS] for m in RECONSTRUCTIONS}
    direct = [f"{value:+.1f}" for value in over["direct"]]
    least, most = (f"+{value}" for value in ends(over["progressive"]))
    return [*direct, least, most, None, None, None]


FIGURES: dict[str, Figures] = {
    "summary_ten_sets": summary_ten_sets,
    "packed_demo": packed_demo,
    "observers_8_bits": lambda: [None, None, f"{observed_change(FASTER, f'{FASTER}/noise'):.2f}"],
    "observers_aciq": lambda: [None, None, one(observed_change(FASTER, f"{FASTER}/full/8/aciq"))],
    "observers_heads": lambda: [
        None,
        *(one(observed(RETINANET, scope, "4", "mmse")) for scope in ("backbone_neck", "full")),
    ],
    "recipe_8_bits": lambda: [
        None,
        one(largest_loss(["W8A8"], "mmse/channels")),
        *[None] * 3,
    ],
    "recipe_gptq": lambda: [
        one(largest_loss(["W6A6", "W4A8"], "mmse/channels+gptq", ["yolox_nano"])),
        *(one(-recipe_change("yolox_nano", c, "mmse/channels+gptq")) for c in ("W6A6", "W4A8")),
        one(-recipe_change("yolox_nano", "W6A6", "mmse/channels")),
        None,
    ],
    "recipe_w4a4": lambda: [one(largest_loss(["W4A4"], "mmse/channels+gptq", ["yolox_nano"]))],
    "reconstruction_2_bits": two_bit_drops,
    "bccd_reconstruction_sizes": lambda: [*[None] * 3, peak_gb(RETINANET), peak_gb(FASTER)],
    "bit_shrinking_losses": bit_shrinking_losses,
    "within_a_point": lambda: (
        [
            one(-drop)
            for drop in below_float(FASTER, "W4A4", "lapq+bitshrink", "progressive", "direct")
        ]
        + [one(below_float(FASTER, "W4A4", "bitshrink")[0])]
    ),
    "bit_shrinking_behind": bit_shrinking_behind,
    "less_without_dropping": lambda: whole(
        extremes(less_without_dropping("bccd_reconstruction", "unit_losses_after"))
    ),
    "mmse_above_float": lambda: [one(bccd(RETINANET, c, "mmse")) for c in ("W4A4", "W3A3")],
    "resnet20_qdrop": lambda: [one(abs(mean(top1("qdrop", "W4A4")) - released(1, "W4A4")))],
    "resnet20_release": lambda: ends(mean(top1("bitshrink", c)) - released(1, c) for c in COLUMNS),
    "resnet20_direct": resnet20_direct,
    "resnet56_order": resnet56_order,
    "resnet56_direct": resnet56_direct,
}
