"""The tables of docs/methods/mixed_precision.md: uniform bits, and budgets of the same cost."""

from pages.grid import Grid, Vars

UNIFORM = ("W8A8", "W6A6", "W4A8", "W4A4", "W2A4")
BUDGETS = ("W6A6", "W4A4", "W3A4")
COSTS = {"size_mb": "MB", "gbops": "GBOPs"}
METHODS = {"MMSE": "mmse", "Bit-shrinking": "bitshrink"}


def runs() -> dict[tuple[str, str], Vars]:
    """The rows."""
    found = {("uniform", bits): f"uniform_{bits.lower()}" for bits in UNIFORM}
    for cost, unit in COSTS.items():
        found |= {(f"{unit} of", bits): f"{cost}_{bits.lower()}" for bits in BUDGETS}
    rows: dict[tuple[str, str], Vars] = {("float", "32"): {"name": "{model}"}}
    return rows | {label: {"run": run} for label, run in found.items()}


def of_model(model: str, methods: tuple[str, ...]) -> Grid:
    """Bits and costs, which do not depend on the method, then the mAP of each."""
    mmse = {"method": "mmse"}
    columns = [
        ("mean bits", {**mmse, "text": "W{w_bits:g}A{a_bits:g}"}),
        ("MB", {**mmse, "text": "{size_mb:.2f}"}),
        ("GBOPs", {**mmse, "text": "{gbops:.1f}"}),
        *((name, {"method": METHODS[name], "text": "{bbox_mAP:.1f}"}) for name in methods),
    ]
    place = {"file": "mixed_precision", "name": "{model}/{method}/{run}", "model": model}
    return Grid(("", "bits"), runs(), columns, place)


GRIDS = {
    "mixed_demo": of_model("retinanet_digits", ("MMSE",)),
    "mixed_retinanet": of_model("RetinaNet-R18", ("MMSE", "Bit-shrinking")),
    "mixed_faster_rcnn": of_model("Faster R-CNN-R18", ("MMSE", "Bit-shrinking")),
    "mixed_yolox": of_model("yolox_nano", ("MMSE", "Bit-shrinking")),
}
