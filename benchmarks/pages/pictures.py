"""The charts of README and docs: which cells they show."""

from collections.abc import Callable, Sequence

from pages.cifar10 import GRIDS as CIFAR10_LAPQ
from pages.diagrams import equalization, which_recipe
from pages.lapq import GRIDS as LAPQ
from pages.measured import cells_of, cells_over_seeds, mean_cell
from pages.svg import Panel, Values, chart

DETECTORS = ("RetinaNet-R18", "Faster R-CNN-R18")
SEEDS = tuple(range(10))
RECIPES = {"MMSE": "channels", "MMSE, then GPTQ": "channels+gptq"}


def mean_over_seeds(file: str, name: str, key: str) -> float | None:
    """Of a cell; None where it was not measured."""
    found = cells_over_seeds(file, name, SEEDS)
    return mean_cell(found)[key] if found else None


def observed(model: str, bits: Sequence[int], observer: str) -> Values:
    cells = cells_of("bccd_observers")
    found = [cells.get(f"{model}/full/{b}/{observer}") for b in bits]
    return [cell["bbox_mAP"] if cell else None for cell in found]


def reconstructed(model: str, columns: Sequence[str], method: str) -> Values:
    """On BCCD, at each of the columns."""
    return [
        mean_over_seeds(
            "bccd_reconstruction", f"{model}/{c}/32x100x2/seed{{seed}}/{method}", "bbox_mAP"
        )
        for c in columns
    ]


def classified(columns: Sequence[str], method: str) -> Values:
    """ResNet-20 on CIFAR-10, at each of the columns."""
    return [
        mean_over_seeds("cifar10_reconstruction", f"resnet20/{c}/{method}/seed{{seed}}", "top1")
        for c in columns
    ]


def by_recipe(model: str, columns: Sequence[str], variant: str) -> Values:
    return [
        mean_over_seeds("default_recipe", f"{model}/{c}/mmse/{variant}/seed{{seed}}", "metric")
        for c in columns
    ]


def float_of(model: str) -> float:
    return cells_of("bccd_observers")[f"{model}/float"]["bbox_mAP"]


def results() -> str:
    """What each kind of recipe carries how far down."""
    faster, few = "Faster R-CNN-R18", ("W4A4", "W3A3", "W2A4")
    wide, columns = ("W8A8", "W6A6"), ("W4A4", "W3A3", "W2A4", "W2A2")
    recipe_columns = ("W8A8", "W6A6", "W4A8", "W4A4")
    ranges = [*observed(faster, (8, 6), "mmse"), *reconstructed(faster, few, "mmse")]
    shrunk = [None, None, *reconstructed(faster, few, "bitshrink")]
    panels = [
        Panel(
            "Faster R-CNN-R18, BCCD: mAP",
            [*wide, *few],
            {"MMSE": ranges, "Bit-shrinking": shrunk},
            float_of(faster),
        ),
        Panel(
            "YOLOX-Nano, COCO: mAP",
            recipe_columns,
            {name: by_recipe("yolox_nano", recipe_columns, v) for name, v in RECIPES.items()},
            cells_of("default_recipe")["yolox_nano"]["metric"],
        ),
        Panel(
            "ResNet-20, CIFAR-10: top-1",
            columns,
            {
                name: classified(columns, method)
                for name, method in (
                    ("MMSE", "mmse"),
                    ("QDrop", "qdrop"),
                    ("Bit-shrinking", "bitshrink"),
                )
            },
            cells_of("cifar10_reconstruction")["resnet20/float"]["top1"],
        ),
    ]
    return chart(
        panels,
        "Accuracy over bits: ranges by MMSE hold to 6 bits and fall to nothing at 2-bit weights; "
        "GPTQ holds YOLOX-Nano to 4-bit weights; Bit-shrinking holds to 2-bit weights",
    )


def ranges() -> str:
    """Every observer on BCCD."""
    observers = ("minmax", "moving_average", "percentile", "mmse", "lp", "kl", "aciq")
    short = ("min\nmax", "mov.\navg.", "pct", "mmse", "lp", "kl", "aciq")
    panels = [
        Panel(
            f"{model}, BCCD: mAP",
            short,
            {
                f"W{b}A{b}": [observed(model, (b,), observer)[0] for observer in observers]
                for b in (8, 6, 4)
            },
            float_of(model),
            joined=False,
        )
        for model in DETECTORS
    ]
    return chart(panels, "mAP by observer at 8, 6 and 4 bits, on two detectors")


def gptq() -> str:
    """Behind the same ranges, with and without."""
    models = {
        "yolox_nano": "YOLOX-\nNano",
        "bccd_retinanet": "Retina-\nNet-R18",
        "demo_retinanet": "demo\nRetina",
        "demo_faster_rcnn": "demo\nFaster",
        "resnet20": "ResNet-\n20",
    }
    panels = []
    for column in ("W6A6", "W4A8", "W4A4"):
        series = {}
        for name, variant in RECIPES.items():
            found = [by_recipe(model, (column,), variant)[0] for model in models]
            floats = [cells_of("default_recipe")[model]["metric"] for model in models]
            series[name] = [
                None if v is None else v - f for v, f in zip(found, floats, strict=True)
            ]
        panels.append(
            Panel(f"{column}: points above float", [*models.values()], series, 0.0, joined=False)
        )
    return chart(panels, "Difference to float with MMSE ranges, and with GPTQ behind them")


def reconstruction() -> str:
    """Every method at every width, on both detectors."""
    methods = ("mmse", "adaround", "brecq", "qdrop", "direct", "bitshrink")
    short = ("mmse", "ada-\nround", "brecq", "qdrop", "direct", "bit-\nshrink")
    panels = [
        Panel(
            f"{model}, BCCD: mAP",
            short,
            {c: [reconstructed(model, (c,), m)[0] for m in methods] for c in ("W4A4", "W2A4")},
            float_of(model),
            joined=False,
        )
        for model in DETECTORS
    ]
    return chart(panels, "mAP by method of reconstruction at W4A4 and W2A4, on two detectors")


def lapq() -> str:
    """Against what looks at one tensor at a time, in the paper's protocol."""
    rows = {"minmax": "min-max", "mmse": "MMSE", "kl": "KL", "aciq": "ACIQ", "LAPQ": "LAPQ"}
    detector, deeper = LAPQ["lapq_table_1_bccd"], CIFAR10_LAPQ["resnet56_lapq_table_1"]
    shallow = CIFAR10_LAPQ["resnet20_lapq_table_1"]
    places = [
        ("RetinaNet-R18, BCCD: mAP", detector, (2, 4, 5), "metric"),
        ("ResNet-20, CIFAR-10: top-1", shallow, (0, 2, 4), "metric"),
        ("ResNet-56, CIFAR-10: top-1", deeper, (0, 1, 2), "metric"),
    ]
    panels = [
        Panel(
            title,
            ("W4A4", "W32A4", "W4A32"),
            {name: [grid.figure(row, c, key) for c in columns] for row, name in rows.items()},
            joined=False,
        )
        for title, grid, columns, key in places
    ]
    return chart(panels, "Accuracy by method where weights, activations or both have 4 bits")


def bias_correction() -> str:
    """Active during a search, and without one."""
    detectors, net = LAPQ["lapq_table_4"], CIFAR10_LAPQ["resnet20_lapq_table_4"]
    without, active = "without bias correction", "with it, before the search"
    panels = [
        Panel(
            f"{heading}: mAP",
            ("MMSE", "LAPQ"),
            {
                without: [detectors.figure(row, column, "metric") for row in ("mmse", "LAPQ")],
                active: [
                    detectors.figure(row, column, "metric") for row in ("bc + mmse", "bc + LAPQ")
                ],
            },
            joined=False,
        )
        for column, (heading, _) in enumerate(detectors.columns[:2])
    ]
    panels.append(
        Panel(
            "ResNet-20: top-1",
            ("MMSE", "LAPQ"),
            {
                name: [net.figure(row, column, "metric") for row in ("mmse", "LAPQ")]
                for column, name in enumerate((without, active))
            },
            joined=False,
        )
    )
    return chart(panels, "Accuracy at W4A4 with and without bias correction of the weights")


PICTURES: dict[str, Callable[[], str]] = {
    made.__name__: made
    for made in (
        results,
        ranges,
        equalization,
        bias_correction,
        gptq,
        lapq,
        reconstruction,
        which_recipe,
    )
}
