"""The tables of docs/methods/mixed_precision.md: uniform bits, and budgets of the same cost."""

from pages.grid import Grid, Vars

UNIFORM = ("W8A8", "W6A6", "W4A8", "W4A4", "W2A4")
BUDGETS = ("W6A6", "W4A4", "W3A4")
RUNS: dict[tuple[str, str], Vars] = {
    **{("uniform", bits): {"run": f"uniform_{bits.lower()}"} for bits in UNIFORM},
    **{
        (f"as many {unit} as", bits): {"run": f"{cost}_{bits.lower()}"}
        for cost, unit in (("size_mb", "MB"), ("gbops", "GBOPs"))
        for bits in BUDGETS
    },
}
METHODS = {"MMSE": "mmse", "GPTQ": "gptq", "Bit-shrinking": "bitshrink"}


def of_model(model: str, methods: tuple[str, ...]) -> Grid:
    """Bits and costs, which do not depend on the method, then the mAP of each."""
    mmse = {"method": "mmse"}
    columns = [
        ("mean bits", {**mmse, "text": "W{w_bits:g}A{a_bits:g}"}),
        ("MB", {**mmse, "text": "{size_mb:.2f}"}),
        ("GBOPs", {**mmse, "text": "{gbops:.1f}"}),
        *(
            (f"mAP, {name}", {"method": METHODS[name], "text": "{bbox_mAP:.1f}"})
            for name in methods
        ),
    ]
    return Grid(
        ("", "bits"),
        RUNS,
        columns,
        {"file": "mixed_precision", "name": "{model}/{method}/{run}", "model": model},
    )
