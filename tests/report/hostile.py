"""A run in which every text that a report shows is an attack."""

from pathlib import Path

from tests.leaderboard_support import TEST, float_row, results, row, write_run
from tests.report_support import (
    layer,
    record,
    sensitivity,
    verification,
    write_json,
    write_picture,
    write_searches,
    write_units,
)


def hostile_run(folder: Path, text: str) -> Path:
    """A work dir whose texts are all ``text``, names of files where the system lets them."""
    name = "".join(c for c in text if c not in "/\x00\ud800")[:80]
    steps = [
        {"type": text, text: text},
        {"type": "BitShrinking", "a": {"type": text, text: [text]}},
    ]
    steps += [{"type": "JointSearch"}, {"type": "LpInterpolation"}]
    data = results(
        float_row(),
        row("minmax", 0.4),
        row(text, 0.5, scope=text, runtime=text, ms=1.0),
        method=text,
        steps=steps,
        qconfig={text: text},
        config=f"configs/{text}.py",
        float_checkpoint=f"weights/{text}.pth",
        environment={text: text, "device": text},
        test=TEST | {"dataset": text, "annotations": [text]},
    )
    data["rows"][1][f"{text}_metric"] = 0.25
    write_run(folder, data)
    start = dict(time=text, command=text, resumed=True, processes=2)
    layers = [layer(text, kind=text, roles=[text]), layer(f"{text}2", calls=0)]
    chosen = {"dataset": text, "annotations": [text], "sha256": text, "images": 3, "chosen": [text]}
    write_json(
        folder / "run.json",
        record(
            starts=[start],
            model=text,
            config=f"{name}.py",
            calibration=chosen,
            layers=layers,
            products={text: 5},
            pictures=[f"{name}.jpg"],
            blame=[text, text, text],
        ),
    )
    (folder / f"{name}.py").write_text(text, encoding="utf-8", errors="replace")
    write_picture(folder / "pictures/0.jpg")
    (folder / "pictures/0.jpg").rename(folder / "pictures" / f"{name}.jpg")
    write_searches(folder)
    write_units(folder, name)
    write_json(folder / "analysis/sensitivity.json", sensitivity(text, text, text))
    wrong = dict(name=text, call=0, equal=0.5, far=0.5, largest=9.0)
    write_json(folder / "quantized.json", verification(part=text, runtime=text, layers=[wrong]))
    return folder
