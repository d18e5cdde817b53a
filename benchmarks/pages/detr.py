"""The table of costs in docs/howto/transformers.md: DINO on the digits, ranges by MMSE."""

from pages.grid import Grid, Vars

PLACE: Vars = {"file": "methods", "name": "demo_dino/{method}/{column}/seed0", "method": "mmse"}
GRIDS = {
    "dino_costs": Grid(
        ("MMSE",),
        {
            "W8A8": {"column": "W8A8"},
            "W6A6": {"column": "W6A6"},
            "W4A4, preset `detr_w4a4`": {"column": "W4A4", "method": "mmse_detr"},
            "W4A4": {"column": "W4A4"},
        },
        [
            ("mAP", {"text": "{metric:.1f}"}),
            ("distance", {"text": "{distance:.4f}"}),
            ("size MB", {"text": "{size_mb:.2f}"}),
            ("GBOPs", {"text": "{gbops:.1f}"}),
        ],
        PLACE,
    ),
}
