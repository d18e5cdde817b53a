"""The numbers in the prose of docs/start/which_recipe.md, item by item."""

from pages.cifar10 import GRIDS as CIFAR10_LAPQ
from pages.lapq import GRIDS as LAPQ
from pages.numbers import Figures
from pages.prose import FASTER, RETINANET, ahead, bccd, largest_loss, less, observed, one, whole


def recipe_lapq() -> list[str | None]:
    seeds, search = LAPQ["lapq_seeds_faster_rcnn"], CIFAR10_LAPQ["resnet20_lapq_table_1"]
    return [
        one(seeds.figure("LAPQ", 1, "metric") - seeds.figure("kl", 1, "metric")),
        None,
        *(one(search.figure(row, 0, "metric")) for row in ("mmse", "LAPQ")),
        f"{search.figure('LAPQ', 0, 'seconds'):.0f}",
    ]


def recipe_shrinking() -> list[str | None]:
    losses = [less(FASTER, "W2A4"), less(RETINANET, "W2A4", range(3))]
    return [*whole(losses), *ahead("W2A4"), None]


FIGURES: dict[str, Figures] = {
    "recipe_eight": lambda: [None, one(largest_loss(["W8A8"], "mmse/channels"))],
    "recipe_lapq": recipe_lapq,
    "recipe_shrinking": recipe_shrinking,
    "recipe_together": lambda: [
        one(bccd(FASTER, "W4A4", "lapq+bitshrink")),
        one(observed(FASTER, "float")),
    ],
}
