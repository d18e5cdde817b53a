"""The tables of docs/results_lapq.md on detectors: the cells of lapq.json."""

from pages.grid import Grid, Vars

CORRECTED = "lw+qa+joint, then bias correction"
# One that iterates names its search behind its objective.
SEARCH = "{objective}/CoordinateDescent/unit/1/0.5 held out"


def plain(row: str, **more: object) -> Vars:
    return {"row": row, "end": "{objective}", **more}


def searched(row: str = "lw+qa+joint", **more: object) -> Vars:
    return {"row": row, "end": "{search}", **more}


FLOAT: Vars = {
    "name": "{model}/float/{objective}/{images}+{others} images{choice}",
    "best": None,
}
BASELINES: dict[str, Vars] = {name: plain(name) for name in ("minmax", "mmse", "kl", "aciq")}
LAYERWISE: dict[str, Vars] = {name: plain(name) for name in ("lw", "lw+qa")}
JOINT: dict[str, Vars] = {
    "lw+qa+joint": searched(),
    CORRECTED: searched("lw+qa+joint+bc"),
}
DETECTOR: Vars = {
    "file": "lapq",
    "name": "{model}/{scope}/{bits}/{images}+{others} images{choice}/{row}/{end}",
    "search": SEARCH,
    "objective": "TaskLoss",
    "bits": "4/4",
    "images": 32,
    "others": 48,
}
RETINANET = "retinanet_r18_w4a4_mmse"
DISTORTED = f"{RETINANET}+distorted_calibration"
FASTER = "faster_rcnn_r18_w4a4_mmse"
DEMO_RETINANET, DEMO_FASTER = "retinanet_w4a4_lapq", "faster_rcnn_w4a4_lapq"
SCOPES = ("full", "lapq_paper")
SHORT = "{b}{metric:.1f}{b} ({loss:.3f} / {others:.3f})"


def three(digits: int) -> list[tuple[str, Vars]]:
    """Columns of mAP and both losses."""
    return [
        ("mAP", {"text": "{b}{metric:.1f}{b}", "best": "metric"}),
        ("loss", {"text": f"{{loss:.{digits}f}}"}),
        ("on other images", {"text": f"{{others:.{digits}f}}"}),
    ]


def by_scope(columns: list[tuple[str, Vars]]) -> list[tuple[str, Vars]]:
    """The columns for each scope, which the first of them names."""
    return [
        (f"{scope}: {heading}" if index == 0 else heading, {"scope": scope, **figure})
        for scope in SCOPES
        for index, (heading, figure) in enumerate(columns)
    ]


def seeds_and_mean(seeds: tuple[int, ...], digits: int = 1) -> list[tuple[str, Vars]]:
    """Columns: mAP of each seed in one column, their mean in the next."""
    names = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 3 else "seeds 0, 1, 2"
    mean = {"text": f"{{b}}{{metric:.{digits}f}}{{b}}", "best": "metric"}
    return [(names, {"text": "{each[metric]}"}), ("mean", mean)]


def of_calibration(images: str, model: str, rows: dict[str, Vars]) -> dict[tuple[str, str], Vars]:
    return {(row, images): {"model": model, **variables} for row, variables in rows.items()}


STEPS = {"float": FLOAT, **BASELINES, **LAYERWISE, **JOINT}
COLUMNS_1 = [
    (f"W{w}A{a}", {"bits": f"{w}/{a}"})
    for w, a in ((8, 4), (8, 3), (4, 4), (8, 2), (32, 4), (4, 32))
]
ROWS_1 = {"float": FLOAT, **BASELINES, "LAPQ": searched()}
STARTS = {"random": "random", "layer-wise": "lw", "layer-wise, quadratic": "lw+qa"}
BEFORE_AND_AFTER = (
    ("initial", {"end": "{objective}", "row": "{start}"}),
    ("after the search", {"end": "{search}", "row": "{start}+joint"}),
)
THREE_MODELS = {
    "BCCD RetinaNet": DISTORTED,
    "demo RetinaNet": DEMO_RETINANET,
    "demo Faster R-CNN": DEMO_FASTER,
}
PAPER: Vars = {**DETECTOR, "scope": "lapq_paper", "text": SHORT}
TEN = tuple(range(10))
LATER = "mean of seeds 3 to 9"
LAST_STAGE = {
    **DETECTOR,
    "model": FASTER,
    "scope": "full",
    "objective": "LastStageDistance",
    "seeds": TEN,
}
DETAIL = {"name": "{model}/{scope}/{bits}/{images}+{others} images{choice}, in detail/{row}/{end}"}


def table_1(model: str) -> Grid:
    best = {"model": model, "best": "metric"}
    return Grid(("method",), ROWS_1, COLUMNS_1, {**PAPER, **best})


GRIDS = {
    "lapq_steps_retinanet": Grid(
        ("method", "calibration images"),
        of_calibration("plain", RETINANET, {"float": FLOAT, **BASELINES, **LAYERWISE})
        | of_calibration("distorted", DISTORTED, STEPS),
        by_scope(three(3)),
        DETECTOR,
    ),
    "lapq_seeds_retinanet": Grid(
        ("method",),
        {
            **BASELINES,
            "LAPQ, steps within 0.25 to 4 times the start": searched(),
            "LAPQ, within 0.5 to 2": searched(search=f"{SEARCH}/0.5 to 2"),
        },
        by_scope(seeds_and_mean((0, 1, 2))),
        {**DETECTOR, "model": DISTORTED, "seeds": (0, 1, 2)},
    ),
    "lapq_steps_faster_rcnn": Grid(
        ("method",),
        {name: row for name, row in STEPS.items() if name != "float"},
        by_scope(three(4)),
        {**DETECTOR, "model": FASTER, "objective": "OutputDistance"},
    ),
    "lapq_seeds_faster_rcnn": Grid(
        ("method",),
        {
            "float": {**FLOAT, "name": f"{FLOAT['name']}, in detail", "seeds": (0,)},
            **{name: BASELINES[name] for name in ("minmax", "mmse")},
            "kl": plain("kl", **DETAIL),
            "aciq": BASELINES["aciq"],
            "LAPQ": searched("kl+joint", **DETAIL),
        },
        [
            *seeds_and_mean(TEN, 2),
            ("training images", {"text": "{b}{training_metric:.2f}{b}", "best": "training_metric"}),
            ("loss", {"text": "{loss:.4f}"}),
            ("on other images", {"text": "{others:.4f}"}),
            ("red", {"text": "{RBC:.2f}"}),
            ("white", {"text": "{WBC:.2f}"}),
            ("platelets", {"text": "{Platelets:.2f}"}),
        ],
        LAST_STAGE,
    ),
    "lapq_seeds_faster_rcnn_paper": Grid(
        ("method",),
        {**BASELINES, "LAPQ (lw+qa+joint)": searched()},
        [
            *((f"seed {seed}", {"seeds": (seed,), "text": "{metric:.1f}"}) for seed in range(3)),
            ("mean", {"text": "{b}{metric:.1f}{b}", "best": "metric"}),
            *three(4)[1:],
        ],
        {
            **DETECTOR,
            "model": FASTER,
            "scope": "lapq_paper",
            "objective": "OutputDistance",
            "seeds": (0, 1, 2),
        },
    ),
    "lapq_starts_faster_rcnn": Grid(
        ("method",),
        {
            "kl": plain("kl"),
            "`OutputDistance` from the L_p path": searched(),
            "`OutputDistance` from KL's ranges (`--rows kl+joint`)": searched("kl+joint"),
        },
        [
            *((f"seed {seed}", {"seeds": (seed,)}) for seed in range(3)),
            ("64 images", {"images": 64}),
        ],
        {
            **DETECTOR,
            "model": FASTER,
            "scope": "full",
            "objective": "OutputDistance",
            "text": "{metric:.1f}",
        },
    ),
    "lapq_labels_faster_rcnn": Grid(
        ("method",),
        {"float": FLOAT, "lw+qa": LAYERWISE["lw+qa"], **JOINT},
        three(3),
        {**DETECTOR, "model": f"{FASTER}+distorted_calibration", "scope": "full"},
    ),
    "lapq_table_1_bccd": table_1(DISTORTED),
    "lapq_table_1_demo_retinanet": table_1(DEMO_RETINANET),
    "lapq_table_1_demo_faster_rcnn": table_1(DEMO_FASTER),
    "lapq_table_3": Grid(
        ("start",),
        {label: {"start": start} for label, start in STARTS.items()},
        [
            (f"{title}: {heading}", {"model": model, **figure})
            for title, model in THREE_MODELS.items()
            for heading, figure in BEFORE_AND_AFTER
        ],
        {**PAPER, "text": SHORT},
    ),
    "lapq_table_4": Grid(
        ("method",),
        {
            "mmse": plain("mmse"),
            "bc + mmse": plain("bc+mmse"),
            "LAPQ": searched(),
            "bc + LAPQ": searched("bc+lw+qa+joint"),
        },
        [(title, {"model": model}) for title, model in THREE_MODELS.items()],
        PAPER,
    ),
    "lapq_table_b2": Grid(
        ("images",),
        {str(images): searched(images=images) for images in (8, 16, 32, 64)},
        [(title, {"model": model}) for title, model in THREE_MODELS.items()],
        PAPER,
    ),
    "lapq_demo": Grid(
        ("method",),
        {name: row for name, row in STEPS.items() if name != "float"},
        [
            (f"{title}: {heading}", {"model": model, "objective": objective})
            for title, model in (("RetinaNet", DEMO_RETINANET), ("Faster R-CNN", DEMO_FASTER))
            for heading, objective in (("task loss", "TaskLoss"), ("distance", "OutputDistance"))
        ],
        {**DETECTOR, "scope": "full", "text": SHORT},
    ),
    "lapq_cost": Grid(
        ("search",),
        {
            "BCCD RetinaNet, full (loaded machine)": searched(model=DISTORTED, scope="full"),
            "BCCD RetinaNet, lapq_paper": searched(model=DISTORTED),
            "BCCD Faster R-CNN, full (loaded machine)": searched(
                model=FASTER, scope="full", objective="OutputDistance"
            ),
            f"BCCD Faster R-CNN, full, the config's, from KL's ranges ({LATER})": searched(
                "kl+joint", **DETAIL, model=FASTER, scope="full", objective="LastStageDistance"
            )
            | {"seeds": TEN[3:]},
            "BCCD Faster R-CNN, lapq_paper": searched(model=FASTER, objective="OutputDistance"),
            "demo RetinaNet, lapq_paper": searched(model=DEMO_RETINANET),
            "demo Faster R-CNN, lapq_paper": searched(model=DEMO_FASTER),
        },
        [
            ("evaluations", {"text": "{evaluations:.0f}"}),
            ("seconds", {"text": "{seconds:.0f}"}),
            ("peak MB", {"text": "{peak_mb:.0f}"}),
        ],
        PAPER,
    ),
}
