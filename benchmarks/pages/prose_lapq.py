"""The numbers in the prose of LAPQ's results and their appendix, paragraph by paragraph."""

from math import sqrt
from statistics import mean, stdev

from pages.cifar10 import GRIDS as CIFAR10
from pages.grid import Label
from pages.lapq import BASELINES, CORRECTED, DISTORTED, FASTER, GRIDS, RETINANET, SEARCH
from pages.measured import cells_of
from pages.numbers import Figures
from pages.prose import ends, one

STEPS, SEEDS = GRIDS["lapq_steps_retinanet"], GRIDS["lapq_seeds_retinanet"]
TEN = GRIDS["lapq_seeds_faster_rcnn"]
BOUNDED = "LAPQ, within 0.5 to 2"
JOINT = ("lw+qa+joint", "distorted")
IMAGES = "32+48 images"
TABLES_1 = [
    GRIDS[f"lapq_table_1_{name}"] for name in ("bccd", "demo_retinanet", "demo_faster_rcnn")
]
FULL, PAPER = 0, 3  # columns of a scope's mAP
MEANS = {FULL: 1, PAPER: 3}  # columns of a scope's mean over the seeds


def step(row: Label, column: int = FULL) -> float:
    return STEPS.figure(row, column, "metric")


def best_baseline(column: int) -> float:
    """The best mAP of ranges alone, on plain images or on distorted ones."""
    rows = [row for row in STEPS.rows if row[0] in BASELINES]
    return max(STEPS.figure(row, column, "metric") for row in rows if STEPS.cells(row, column))


def of_seed(row: str, scope: str, seed: int, key: str) -> float:
    """RetinaNet's on one choice of the distorted images."""
    end = {"aciq": "aciq/TaskLoss", BOUNDED: f"lw+qa+joint/{SEARCH}/0.5 to 2"}.get(
        row, f"lw+qa+joint/{SEARCH}"
    )
    choice = f", seed {seed}" if seed else ""
    name = f"{DISTORTED}/{scope}/4/4/{IMAGES}{choice}/{end}".replace("{objective}", "TaskLoss")
    return cells_of("lapq")[name][key]


def paired(key: str) -> list[float]:
    """LAPQ minus KL on Faster R-CNN, for each of ten choices of the images."""
    ours, theirs = (TEN.cells(row, 0) for row in ("LAPQ", "kl"))
    return [a[key] - b[key] for a, b in zip(ours, theirs, strict=True)]


def with_error(differences: list[float]) -> list[str]:
    """Mean and its standard error."""
    return [f"{mean(differences):.2f}", f"{stdev(differences) / sqrt(len(differences)):.2f}"]


def memorised() -> list[str | None]:
    plain = {row: (row, "plain") for row in ("mmse", "lw+qa")}
    gains = {column: step(JOINT, column) - best_baseline(column) for column in (FULL, PAPER)}
    bounded = {column: SEEDS.figure(BOUNDED, MEANS[column], "metric") for column in (FULL, PAPER)}
    least = SEEDS.figure("aciq", MEANS[PAPER], "metric")
    return [
        *(f"{STEPS.figure(row, FULL, 'loss'):.3f}" for row in plain.values()),
        *(one(step(row)) for row in plain.values()),
        *(one(gain) for gain in gains.values()),
        one(bounded[FULL] - best_baseline(FULL)),
        one(bounded[PAPER] - least),
    ]


def tempted() -> list[str | None]:
    float_name = f"{DISTORTED}/float/TaskLoss/{IMAGES}, seed 1"
    gains = [
        of_seed(BOUNDED, "lapq_paper", s, "metric") - of_seed("aciq", "lapq_paper", s, "metric")
        for s in range(3)
    ]
    return [
        one(of_seed("LAPQ", "lapq_paper", 1, "metric")),
        None,
        f"{of_seed('LAPQ', 'lapq_paper', 1, 'others'):.2f}",
        one(cells_of("lapq")[float_name]["others"]),
        None,
        None,
        one(of_seed(BOUNDED, "lapq_paper", 1, "metric")),
        f"{of_seed(BOUNDED, 'lapq_paper', 1, 'others'):.2f}",
        *ends(gains),
        *[None] * 2,
    ]


def above_every_baseline() -> list[str | None]:
    means = {row: TEN.figure(row, 1, "metric") for row in TEN.rows}
    others = min(means["LAPQ"] - means[row] for row in ("minmax", "mmse", "aciq"))
    return [one(others), *with_error(paired("metric")), one(means["float"] - means["kl"])]


def noise() -> list[str | None]:
    ours, theirs = (TEN.figure(row, 4, "others") for row in ("kl", "LAPQ"))
    platelets = [f"{x:+.1f}" for x in (min(paired("Platelets")), max(paired("Platelets")))]
    return [
        f"{ours:.4f}",
        f"{theirs:.4f}",
        None,
        None,
        *with_error(paired("training_metric")),
        *with_error(paired("RBC")),
        None,
        None,
        *platelets,
    ]


def bias_during() -> list[str | None]:
    cells = [
        cells_of("lapq")[
            f"{FASTER}/full/4/4/{IMAGES}{choice}/bc+kl+joint/"
            + SEARCH.format(objective="LastStageDistance")
        ]
        for choice in ("", ", seed 1", ", seed 2")
    ]
    losses = [f"{cell['others']:.4f}" for cell in cells]
    return [*losses, *(one(cell["metric"]) for cell in cells), None, None, None]


def by_tensor() -> list[str | None]:
    end = SEARCH.format(objective="LastStageDistance").replace("/unit/", "/tensor/")
    rows = ("kl+joint", "bc+kl+joint")
    names = (f"{FASTER}/full/4/4/{IMAGES}/{row}/{end}" for row in rows)
    return [*(one(cells_of("lapq")[name]["metric"]) for name in names), *[None] * 4]


def bias_after() -> list[str | None]:
    """What it costs where it costs."""
    places: list[tuple[str, Label, Label, int]] = []
    for column in (FULL, PAPER):
        places.append(("lapq_steps_retinanet", JOINT, (CORRECTED, "distorted"), column))
        places.append(("lapq_steps_faster_rcnn", JOINT[0], CORRECTED, column))
    places.append(("lapq_labels_faster_rcnn", JOINT[0], CORRECTED, FULL))
    costs = [
        GRIDS[grid].figure(before, column, "metric") - GRIDS[grid].figure(after, column, "metric")
        for grid, before, after, column in places
    ]
    return list(ends(cost for cost in costs if cost > 0))


def two_bit_activations() -> list[str | None]:
    grid, column = TABLES_1[0], 3
    cells = [
        cells_of("lapq")[f"{RETINANET}/lapq_paper/8/2/{IMAGES}/{row}"]
        for row in (
            f"lw+qa+joint/{SEARCH}".format(objective="OutputDistance"),
            "mmse/OutputDistance",
        )
    ]
    return [
        one(grid.figure("mmse", column, "metric") - grid.figure("LAPQ", column, "metric")),
        *(one(cell["metric"]) for cell in cells),
        *(f"{cell['others']:.3f}" for cell in cells),
    ]


def wins() -> list[str | None]:
    """Columns of Table 1 in which LAPQ has the least loss, all columns, and its best mAPs."""
    places = [(grid, column) for grid in TABLES_1 for column in range(len(grid.columns))]

    def rivals(key: str) -> list[tuple[float, list[float]]]:
        return [
            (grid.figure("LAPQ", c, key), [grid.figure(row, c, key) for row in BASELINES])
            for grid, c in places
        ]

    losses = sum(ours < min(others) for ours, others in rivals("loss"))
    return [
        str(losses),
        str(len(places)),
        str(sum(ours > max(others) for ours, others in rivals("metric"))),
    ]


def table_4() -> list[str | None]:
    grid = GRIDS["lapq_table_4"]
    gains = [
        grid.figure("bc + LAPQ", c, "metric") - grid.figure("LAPQ", c, "metric") for c in range(3)
    ]
    return [one(max(gains))]


def eight_bit_weights() -> list[str | None]:
    grid = CIFAR10["resnet20_lapq_8_bit_weights"]
    start = "resnet20_cifar10_w4a4_lapq/lapq_paper/8/3/512+512 images"
    more = cells_of("cifar10_lapq")[f"{start}/lw+qa+joint/CrossEntropy/Powell/tensor/1"]
    kl = cells_of("cifar10_lapq")[f"{start}/kl/CrossEntropy"]
    return [
        None,
        None,
        None,
        *(f"{grid.figure(row, 1, 'others'):.3f}" for row in ("LAPQ", "kl")),
        None,
        f"{more['loss']:.3f}",
        f"{more['others']:.3f}",
        one(more["metric"]),
        one(kl["metric"]),
        None,
    ]


def released() -> list[str | None]:
    grid = CIFAR10["resnet20_lapq_table_1"]
    behind = [
        max(grid.figure(row, c, "metric") for row in BASELINES) - grid.figure("LAPQ", c, "metric")
        for c in (2, 3)
    ]
    seconds = f"{grid.figure('LAPQ', 0, 'seconds'):.0f}"
    return [None, None, None, seconds, one(max(behind))]


def resnet56() -> list[str | None]:
    starts = {depth: CIFAR10[f"resnet{depth}_lapq_table_3"] for depth in (56, 20)}
    row = "layer-wise, quadratic"
    before, after = (
        {depth: grid.figure(row, c, "metric") for depth, grid in starts.items()} for c in (0, 1)
    )
    bias = CIFAR10["resnet56_lapq_table_4"]
    return [
        *(one(value) for value in before.values()),
        *(one(after[depth] - before[depth]) for depth in before),
        f"{after[56] - starts[56].figure('random', 1, 'metric'):.0f}",
        one(bias.figure("mmse", 1, "metric") - bias.figure("mmse", 0, "metric")),
    ]


FIGURES: dict[str, Figures] = {
    "lapq_memorised": memorised,
    "lapq_tempted": tempted,
    "lapq_not_memorised": lambda: [
        one(GRIDS["lapq_labels_faster_rcnn"].figure("float", 0, "loss"))
    ],
    "lapq_above_every_baseline": above_every_baseline,
    "lapq_noise": noise,
    "lapq_bias_during": bias_during,
    "lapq_by_tensor": by_tensor,
    "lapq_bias_after": bias_after,
    "lapq_two_bit_activations": two_bit_activations,
    "lapq_wins": wins,
    "lapq_table_4": table_4,
    "lapq_8_bit_weights": eight_bit_weights,
    "lapq_released": released,
    "lapq_resnet56": resnet56,
}
