"""The table of docs/start/which_recipe.md: what each recipe reaches, and how long it takes."""

from pages.grid import Grid, Vars
from pages.reconstruction import BCCD, FLOAT, LAPQ, MODELS

DEFAULT: Vars = {
    "file": "default_recipe",
    "name": "{recipe_model}/{column}/mmse/channels{behind}/seed0",
}
SEARCHED: Vars = {key: LAPQ[key] for key in ("file", "name", "scope", "images", "others")}
DETECTORS: dict[str, Vars] = {
    "RetinaNet": {**MODELS["RetinaNet"], "recipe_model": "bccd_retinanet"},
    "Faster R-CNN": {**MODELS["Faster R-CNN"], "recipe_model": "bccd_faster_rcnn"},
}
COLUMNS: dict[str, Vars] = {
    "W4A4": {"column": "W4A4", "bits": "4/4"},
    "W2A4": {"column": "W2A4", "bits": "2/4"},
}


def reconstructed(method: str) -> Vars:
    return {"file": BCCD["file"], "name": BCCD["name"], "method": method}


GRIDS = {
    "recipe_costs": Grid(
        ("recipe",),
        {
            "float": {"file": FLOAT["file"], "name": FLOAT["name"], "text": "{metric:.1f}"},
            # Its seconds are those of the statistics, which all others read too.
            "MMSE": {**reconstructed("mmse"), "text": "{metric:.1f}"},
            "GPTQ": {**DEFAULT, "behind": "+gptq"},
            "LAPQ": SEARCHED,
            "AdaRound": reconstructed("adaround"),
            "BRECQ": reconstructed("brecq"),
            "QDrop": reconstructed("qdrop"),
            "Bit-shrinking": reconstructed("bitshrink"),
        },
        [
            (f"{title} {bits}", {**detector, **column})
            for title, detector in DETECTORS.items()
            for bits, column in COLUMNS.items()
        ],
        {"seeds": (0, 1, 2), "text": "{metric:.1f} ({seconds:.0f} s)"},
    ),
}
