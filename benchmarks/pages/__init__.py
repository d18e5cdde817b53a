"""What the docs show of benchmarks/results/: tables and figures, as data."""

from pages import (
    cifar10,
    deploy,
    detr,
    lapq,
    mixed,
    observers,
    prose,
    prose_lapq,
    prose_methods,
    prose_recipes,
    recipes,
    reconstruction,
)

GRIDS = (
    lapq.GRIDS
    | cifar10.GRIDS
    | reconstruction.GRIDS
    | deploy.GRIDS
    | recipes.GRIDS
    | mixed.GRIDS
    | observers.GRIDS
    | detr.GRIDS
)
FIGURES = prose.FIGURES | prose_lapq.FIGURES | prose_methods.FIGURES | prose_recipes.FIGURES
