"""A run in which every text that a page shows is an attack."""

from tests.leaderboard_support import STEPS, TEST, float_row, results, row, write_run


def hostile_run(folder, text):
    """A work dir whose texts are all ``text``; the folder with it."""
    qconfig = {"scope": text, "weight": {"num_bits": 4}, "target": {"type": text}}
    data = results(
        float_row(),
        row(text, 0.5, scope=text, runtime=text),
        method=text,
        steps=[*STEPS, {"type": text, text: text}],
        qconfig=qconfig,
        config=f"configs/{text}.py",
        float_checkpoint=f"weights/{text}.pth",
        environment={text: text, "device": text},
        test=TEST | {"dataset": text, "annotations": [text]},
    )
    data["rows"][1][f"{text}_metric"] = 0.25
    # What may stand in a file's name stands in the names of files, too.
    name = "".join(c for c in text if c not in "/\x00\ud800")
    write_run(folder / name, data)
    pictures = folder / name / "pictures"
    pictures.mkdir()
    (pictures / f"{name}.jpg").write_text("")
    return folder
