"""Tables of docs/results.md on choices of ranges, measured before benchmarks/methods.py."""

from pages.grid import Grid, Vars

SEEDS = tuple(range(10))
BCCD: Vars = {
    "file": "bccd_observers",
    "name": "{model}/{scope}/{bits}/{method}",
    "text": "{bbox_mAP:.1f}",
}
METHODS = ("minmax", "moving_average", "percentile", "mmse", "lp", "kl", "aciq")
BCCD_MODELS = ("RetinaNet-R18", "Faster R-CNN-R18")
RECIPES: Vars = {
    "file": "default_recipe",
    "name": "{model}/{column}/{method}/{behind}/seed{seed}",
    "minus": "{model}",
    "seeds": SEEDS,
    "text": "{metric:+.1f}",
}
RECIPE_MODELS = {
    "YOLOX-Nano, COCO": "yolox_nano",
    "RetinaNet-R18, BCCD": "bccd_retinanet",
    "Faster R-CNN-R18, BCCD": "bccd_faster_rcnn",
    "RetinaNet, demo": "demo_retinanet",
    "Faster R-CNN, demo": "demo_faster_rcnn",
    "ResNet-20, CIFAR-10": "resnet20",
}
BEHIND = ("channels", "channels+bias", "channels+gptq")
NOT_MEASURED = ("demo_faster_rcnn", "channels+bias")
FLOAT_COLUMN = ("float", {"name": "{model}", "text": "{metric:.1f}", "minus": None})


def of_every_observer(model: str) -> Grid:
    """MAP at every scope and bit-width."""
    columns = [
        (f"{scope} W{bits}A{bits}", {"scope": scope, "bits": bits})
        for scope in ("full", "backbone_neck")
        for bits in (8, 6, 4)
    ]
    rows: dict[str, Vars] = {"float": {"name": "{model}/float"}}
    rows |= {method: {"method": method} for method in METHODS}
    return Grid(("observer",), rows, columns, {**BCCD, "model": model})


GRIDS = {
    "bccd_observers_retinanet": of_every_observer(BCCD_MODELS[0]),
    "bccd_observers_faster_rcnn": of_every_observer(BCCD_MODELS[1]),
    "bccd_observers_seeds": Grid(
        ("W8A8 full, mean difference to float (seeds)",),
        {model: {"model": model} for model in BCCD_MODELS},
        [(method, {"method": method}) for method in METHODS],
        {
            **BCCD,
            "name": "{model}/full/8/{method}{slash}",
            "minus": "{model}/float",
            "seeds": SEEDS,
            "text": "{bbox_mAP:+.2f} ({count})",
        },
    ),
    "bccd_observers_noise": Grid(
        ("float model, noise of 8-bit rounding",),
        {model: {"model": model} for model in BCCD_MODELS},
        [(str(seed), {"seeds": (seed,)}) for seed in range(4)],
        {**BCCD, "name": "{model}/noise/{seed}"},
    ),
    "default_recipe": Grid(
        ("", "recipe"),
        {
            (title, behind): {"model": model, "behind": behind}
            for title, model in RECIPE_MODELS.items()
            for behind in BEHIND
            if (model, behind) != NOT_MEASURED
        },
        [
            FLOAT_COLUMN,
            *(
                (f"{column} {method}", {"column": column, "method": method})
                for column in ("W8A8", "W6A6", "W4A8", "W4A4")
                for method in ("mmse", "minmax")
                if (column, method) != ("W4A4", "minmax")
            ),
        ],
        RECIPES,
    ),
}
