"""docs/results_lapq.md on CIFAR-10: the cells of cifar10_lapq.json."""

from pages.grid import Grid, Vars
from pages.lapq import BASELINES, BEFORE_AND_AFTER, FLOAT, SHORT, STARTS, searched

PROTOCOL: Vars = {
    "file": "cifar10_lapq",
    "name": "{model}/lapq_paper/{bits}/{images}+{others} images/{row}/{end}",
    "search": "{objective}/Powell/tensor/1",
    "objective": "CrossEntropy",
    "bits": "4/4",
    "images": 256,
    "others": 512,
    "text": SHORT,
}
RESNET20 = {**PROTOCOL, "model": "resnet20_cifar10_w4a4_lapq"}
RESNET56 = {**PROTOCOL, "model": "resnet56_cifar10_w4a4_lapq"}
COST: dict[str, Vars] = {
    "seconds": searched(text="{seconds:.0f}", best=None),
    "evaluations": searched(text="{evaluations:.0f}", best=None),
}
LAPQ = {"LAPQ": searched()}


def bits(*columns: tuple[int, int]) -> list[tuple[str, Vars]]:
    return [(f"W{w}A{a}", {"bits": f"{w}/{a}"}) for w, a in columns]


def table_3(model: Vars) -> Grid:
    rows = {label: {"start": start} for label, start in STARTS.items()}
    return Grid(("start",), rows, BEFORE_AND_AFTER, model)


def table_4(model: Vars) -> Grid:
    columns = [
        ("without bias correction", {"row": "{method}"}),
        ("with it, before the search", {"row": "bc+{method}"}),
    ]
    rows = {
        "mmse": {"method": "mmse", "end": "{objective}"},
        "LAPQ": {"method": "lw+qa+joint", "end": "{search}"},
    }
    return Grid(("",), rows, columns, model)


GRIDS = {
    "resnet20_lapq_table_1": Grid(
        ("method",),
        {"float": FLOAT, **BASELINES, **LAPQ, **COST},
        [
            (f"{name}, {images}", {**column, "images": images})
            for name, column in bits((4, 4), (32, 4), (4, 32))
            for images in (256, 512)
        ],
        {**RESNET20, "best": "metric"},
    ),
    "resnet20_lapq_8_bit_weights": Grid(
        ("method, 256 images",),
        {**BASELINES, **LAPQ, "seconds": COST["seconds"]},
        bits((8, 4), (8, 3), (8, 2)),
        {**RESNET20, "best": "metric"},
    ),
    "resnet20_lapq_table_3": table_3(RESNET20),
    "resnet20_lapq_table_4": table_4(RESNET20),
    "resnet20_lapq_table_b2": Grid(
        ("images",),
        {"top-1": searched()},
        [(str(images), {"images": images}) for images in (16, 64, 256, 512, 1024)],
        RESNET20,
    ),
    "resnet56_lapq_table_1": Grid(
        ("method",),
        {**BASELINES, **LAPQ, **COST},
        bits((4, 4), (32, 4), (4, 32)),
        {**RESNET56, "best": "metric"},
    ),
    "resnet56_lapq_table_3": table_3(RESNET56),
    "resnet56_lapq_table_4": table_4(RESNET56),
}
