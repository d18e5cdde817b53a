"""The numbers in the prose of docs/methods/ and docs/howto/, paragraph by paragraph."""

from statistics import mean, stdev

from pages.measured import cells_of, cells_over_seeds
from pages.numbers import Figures
from pages.prose import (
    COLUMNS,
    FASTER,
    MODELS,
    RETINANET,
    ahead,
    ends,
    extremes,
    less,
    less_without_dropping,
    one,
    recipe_change,
    top1,
    top1_over,
    whole,
)
from pages.reconstruction import DETECTOR_COLUMNS, DROPPING

SWIN = ("demo_retinanet_swin", "W4A4")


def shrinking_against_direct() -> list[str | None]:
    seeds = [top1(m, c) for c in ("W3A3", "W2A2") for m in ("bitshrink", "direct")]
    return [
        *(one(value) for values in seeds for value in (mean(values), stdev(values))),
        f"{less(RETINANET, 'W2A4', range(3)):.0f}",
        f"{less(FASTER, 'W2A4'):.0f}",
        *ahead("W2A4"),
        *[None] * 2,
        *ends(top1_over("bitshrink", "progressive", column) for column in COLUMNS),
    ]


def dropped_losses() -> list[str | None]:
    found = less_without_dropping("bccd_reconstruction", "unit_losses_after")
    found += less_without_dropping("cifar10_reconstruction", "after")
    return [None, *whole(extremes(found)), None]


def without_dropping() -> list[str | None]:
    top1_gains = [
        mean(top1(method, column)) - mean(dropped_top1(method, column))
        for column in ("W3A3", "W2A2")
        for method in ("bitshrink", "direct")
    ]
    return [
        *(one(gain) for gain in top1_gains),
        one(mean(bccd_gain(method) for method in ("bitshrink", "direct"))),
        one(-bccd_gain("lapq+bitshrink")),
        None,
    ]


def dropped_top1(method: str, column: str) -> list[float]:
    name = f"resnet20/{column}/{method}/seed{{seed}}/{DROPPING}"
    cells = cells_over_seeds("cifar10_reconstruction", name, (0, 1, 2))
    return [cell["top1"] for cell in cells]


def bccd_gain(method: str) -> float:
    """Mean over both models' columns, with seed 0."""
    cells = cells_of("bccd_reconstruction")
    names = [f"{m}/{c}/32x100x2/seed0/{method}" for m in MODELS for c in DETECTOR_COLUMNS]
    return mean(cells[n]["bbox_mAP"] - cells[f"{n},{DROPPING}"]["bbox_mAP"] for n in names)


def runtime_float64() -> list[str | None]:
    names = (f"bccd_{model}/W4A4/openvino" for model in ("retinanet", "faster_rcnn"))
    cells = [cells_of("runtime_map")[name] for name in names]
    images = [str(cells[1][key]) for key in ("images", "close", "float64_close")]
    return [None, *(one(cell[k]) for cell in cells for k in ("float64", "simulated")), *images]


def runtime_repeated() -> list[str | None]:
    found: list[str | None] = []
    for name in ("bccd_retinanet/W4A4/openvino/8 times", "bccd_faster_rcnn/W4A4/openvino/6 times"):
        cell = cells_of("runtime_map")[name]
        difference, error = cell["to_simulated"]
        found += [f"{difference:+.2f}", f"{error:.2f}", str(len(cell["runs"]["real"]))]
    return found


def behind_gptq() -> list[str | None]:
    cells = cells_of("methods")
    steps, bias = (cells[f"yolox_nano/gptq_{what}/W6A6/seed0"] for what in ("steps", "bias"))
    (verdict,) = steps["verdicts"]
    # What was learned is taken back: what is left is GPTQ's own.
    found = [None if verdict["kept"] else one(steps["bbox_mAP"]), one(bias["bbox_mAP"])]
    return [*found, str(verdict["images"])]


def weighed_by_outputs() -> list[str | None]:
    """How much less QDrop's distance is with fisher="outputs", by the means of three seeds."""
    vit = "vit_long_digits"
    few, many = [None, *less_weighed(vit, "W2A4", 1000)], less_weighed(vit, "W3A3", 1000)[:1]
    rest = [less_weighed(*place, 300)[0] for place in ((vit, "W4A4"), (vit, "W3A3"), SWIN)]
    return [*few, *many, None, *rest]


def less_weighed(model: str, column: str, iters: int) -> list[str]:
    """Percent, and with how many seeds it is less."""
    cells = cells_of("methods")
    plain, weighed = (
        [cells[f"{model}/{method}/{column}/seed{seed}"]["distance"] for seed in range(3)]
        for method in (f"qdrop@{iters}", f"qdrop@{iters}:fisher=outputs")
    )
    wins = sum(a < b for a, b in zip(weighed, plain, strict=True))
    return [f"{100 * (1 - mean(weighed) / mean(plain)):.0f}", str(wins)]


FIGURES: dict[str, Figures] = {
    "weighed_by_outputs": weighed_by_outputs,
    "behind_gptq": behind_gptq,
    "shrinking_against_direct": shrinking_against_direct,
    "dropped_losses": dropped_losses,
    "without_dropping": without_dropping,
    "runtime_float64": runtime_float64,
    "runtime_repeated": runtime_repeated,
    "gptq_yolox": lambda: [
        one(-recipe_change("yolox_nano", "W4A8", "mmse/channels+gptq")),
        one(cells_of("default_recipe")["yolox_nano"]["metric"]),
    ],
}
