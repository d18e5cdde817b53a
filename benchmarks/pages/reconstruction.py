"""The first tables of docs/results.md, and those of docs/methods/bit_shrinking.md."""

from pages.grid import Grid, Vars
from pages.lapq import DETECTOR, DISTORTED, FASTER, SEARCH

BCCD: Vars = {
    "file": "bccd_reconstruction",
    "name": "{model}/{column}/32x100x2/seed{seed}/{method}",
    "text": "{bbox_mAP:.1f}",
}
CIFAR10: Vars = {
    "file": "cifar10_reconstruction",
    "name": "{model}/{column}/{method}/seed{seed}",
    "text": "{top1:.2f}",
}
OBSERVERS: Vars = {
    "file": "bccd_observers",
    "name": "{model}/full/{bits}/{method}",
    "text": "{bbox_mAP:.1f}",
}
FLOAT: Vars = {**OBSERVERS, "name": "{model}/float"}
LAPQ: Vars = {**DETECTOR, "scope": "full", "text": "{metric:.1f}"}
LAPQ |= {"name": "{lapq}/{scope}/{bits}/{images}+{others} images{choice}{detail}/{row}/{end}"}
# LAPQ as in the configs.
MODELS: dict[str, Vars] = {
    "Faster R-CNN": {
        "model": "Faster R-CNN-R18",
        "lapq": FASTER,
        "objective": "LastStageDistance",
        "detail": ", in detail",
        "row": "kl+joint",
        "end": SEARCH,
    },
    "RetinaNet": {
        "model": "RetinaNet-R18",
        "lapq": DISTORTED,
        "objective": "TaskLoss",
        "detail": "",
        "row": "lw+qa+joint",
        "end": f"{SEARCH}/0.5 to 2",
    },
}


def observer(method: str, bits: int) -> Vars:
    return {**OBSERVERS, "method": method, "bits": bits}


def reconstructed(method: str, column: str) -> Vars:
    return {**BCCD, "method": method, "column": column}


DROPPING = "drop_prob=0.5"
TRIALS = {
    (bits, f"{method}{', with dropping' if options else ''}"): {
        "bits": bits,
        "method": method + options,
    }
    for bits in ("W4A4", "W2A4")
    for method in ("bitshrink", "direct")
    for options in ("", f" {DROPPING}")
}
CIFAR_COLUMNS = ("W4A4", "W3A3", "W2A4", "W2A2")
DETECTOR_COLUMNS = ("W4A4", "W3A3", "W2A4", "backbone_neck-W4A4")


METHODS = ("mmse", "adaround", "brecq", "qdrop", "direct", "progressive", "bitshrink")
SEEDS = tuple(range(10))


def on_bccd(model: str) -> Grid:
    """MAP of every method and seconds of its cell, column by column."""
    spread = "{bbox_mAP:.1f} ({low[bbox_mAP]:.1f} to {high[bbox_mAP]:.1f}, {count} seeds)"
    seconds = {"text": "{seconds:.0f}", "seeds": (0,)}
    columns = [
        (heading, {"column": column, **shown})
        for column in DETECTOR_COLUMNS
        for heading, shown in ((column, {"several": spread}), ("s", seconds))
    ]
    rows: dict[str, Vars] = {"float": {"name": "{model}/float"}}
    rows |= {method: {"method": method} for method in (*METHODS, "lapq+bitshrink")}
    return Grid(("method",), rows, columns, {**BCCD, "model": model, "seeds": SEEDS})


def on_cifar10(model: str, end: str = "") -> Grid:
    """Top-1 of every method, and least and most seconds of its cells.

    Args:
        model: Its name in the cells.
        end: Of the names of cells that iterate.
    """
    name = f"{CIFAR10['name']}{{end}}"
    columns = [(column, {"column": column, "name": name}) for column in CIFAR_COLUMNS]
    seconds = {
        "name": tuple(name.replace("{column}", column) for column in CIFAR_COLUMNS),
        "pooled": True,
        "text": "{seconds:.0f}",
        "several": "{low[seconds]:.0f}-{high[seconds]:.0f}",
    }
    rows: dict[str, Vars] = {"float": {"name": "{model}/float", "several": ""}}
    rows |= {method: {"method": method, "end": ""} for method in ("mmse", "l2.4")}
    rows |= {method: {"method": method} for method in METHODS[1:]}
    spread = "{top1:.2f} ± {std[top1]:.2f} ({count})"
    shared = {**CIFAR10, "model": model, "end": end, "seeds": SEEDS, "several": spread}
    return Grid(("top-1",), rows, [*columns, ("seconds a cell", seconds)], shared)


def with_and_without(text: str, loss: str) -> list[tuple[str, Vars]]:
    """Accuracy and units' loss of both modes."""
    return [
        (heading, {"method": method, "text": shown})
        for method in ("bitshrink", "direct")
        for heading, shown in ((f"`{method}`", text), ("units' loss", loss))
    ]


GRIDS = {
    "summary_ranges": Grid(
        ("",),
        MODELS,
        [
            ("float", FLOAT),
            ("W8A8 min-max", observer("minmax", 8)),
            ("W8A8 MMSE", observer("mmse", 8)),
            ("W6A6 MMSE", observer("mmse", 6)),
            ("W4A4 min-max", observer("minmax", 4)),
            ("W4A4 MMSE", observer("mmse", 4)),
            ("W4A4 KL", observer("kl", 4)),
        ],
        {},
    ),
    "summary_beyond_ranges": Grid(
        ("",),
        {
            "Faster R-CNN": MODELS["Faster R-CNN"],
            "RetinaNet": {**MODELS["RetinaNet"], "seeds": (0, 1, 2)},
        },
        [
            ("float", FLOAT),
            ("W4A4 MMSE", observer("mmse", 4)),
            ("W4A4 LAPQ", LAPQ),
            ("W4A4 Bit-shrinking", reconstructed("bitshrink", "W4A4")),
            ("W2A4 MMSE", reconstructed("mmse", "W2A4")),
            ("W2A4 QDrop", reconstructed("qdrop", "W2A4")),
            ("W2A4 Bit-shrinking", reconstructed("bitshrink", "W2A4")),
        ],
        {},
    ),
    "bccd_reconstruction_retinanet": on_bccd("RetinaNet-R18"),
    "bccd_reconstruction_faster_rcnn": on_bccd("Faster R-CNN-R18"),
    "resnet20_reconstruction": on_cifar10("resnet20"),
    "resnet56_reconstruction": on_cifar10("resnet56", "/250 iters"),
    "bit_shrinking_trials": Grid(
        ("bits", "method"),
        TRIALS,
        [
            ("held-out error", {"text": "{error:.4f} ({low[error]:.4f} to {high[error]:.4f})"}),
            ("mAP", {"text": "{bbox_mAP:.1f} ({low[bbox_mAP]:.1f} to {high[bbox_mAP]:.1f})"}),
            ("CPU s", {"text": "{cpu_seconds:.0f}"}),
        ],
        {
            "file": "demo_reconstruction",
            "name": "retinanet/{bits}/32x100x2/seed{seed}/{method}",
            "seeds": (0, 1, 2),
        },
    ),
    "bit_shrinking_dropping_bccd": Grid(
        ("mAP",),
        {
            f"{model}, {column.replace('-', ' ')}": {"model": model, "column": column}
            for model in ("RetinaNet-R18", "Faster R-CNN-R18")
            for column in DETECTOR_COLUMNS
        },
        with_and_without("{bbox_mAP:.1f}", "{unit_losses_after:.0f}"),
        {**BCCD, "name": (f"{BCCD['name']},{DROPPING}", BCCD["name"])},
    ),
    "bit_shrinking_dropping_resnet20": Grid(
        ("top-1",),
        {f"ResNet-20, {column}": {"column": column} for column in CIFAR_COLUMNS},
        with_and_without("{top1:.2f}", "{after:.1f}"),
        {
            **CIFAR10,
            "model": "resnet20",
            "name": (f"{CIFAR10['name']}/{DROPPING}", CIFAR10["name"]),
        },
    ),
}
