"""What a run was made of: images, environment, command line, files, config."""

import json
from pathlib import Path
from typing import Any

from mmptq.evaluation.environment import environment_text
from mmptq.report.reading import count, text, texts
from mmptq.report.record import Start
from mmptq.report.run import RESULTS, Run
from mmptq.report.section import Section, folded, paragraph, preformatted, terms
from mmptq.webpage import for_html, link_to

_LONGEST_CONFIG = 300_000  # characters
_LONGEST_QCONFIG = 50_000
_MOST_IMAGES = 2000
_FILES = {
    RESULTS: "every figure",
    "quantized.pth": "the checkpoint",
    "quantized.onnx": "the exported model",
    "quantized.json": "its check",
    "more_bits.py": "a qconfig that spares what hurts most",
    "mixed_precision_qconfig.py": "the bits that were chosen, as a qconfig",
    "mixed_precision.png": "the same as a picture",
    "analysis/sensitivity.png": "sensitivity",
    "run.json": "layers and calibration images",
    "detections": "boxes of every row",
    "stages": "finished stages and search logs",
    "reconstruction": "logs of the units",
}


def images_section(run: Run) -> Section:
    """The calibration set, and the test set that the figures are of."""
    calibration, source = run.results.calibration, run.record.calibration if run.record else {}
    images = texts(source, "chosen")
    number = str(len(images) or calibration.get("num_images", "?"))
    of = f" of {count(source, 'images')}" if count(source, "images") else ""
    labels = {True: "read by the recipe", False: "not read", None: ""}[calibration.get("labels")]
    listed = terms(
        [
            ("calibration images", for_html(f"{number}{of}, seed {calibration.get('seed', '?')}")),
            ("their data set", _data_set(source)),
            ("their labels", for_html(labels)),
            ("test images", for_html(run.results.test.get("images", "not recorded"))),
            ("their data set", _data_set(run.results.test)),
        ]
    )
    if images:
        shown = "\n".join(images[:_MOST_IMAGES])
        title = f"The {len(images)} calibration images"
        listed += folded(title, preformatted(shown, len(shown)))
    return Section("images", "Images", listed)


def _data_set(described: dict[str, Any]) -> str:
    """As :func:`mmptq.evaluation.test_set.describe_test_set` has described it."""
    digest = text(described, "sha256")
    parts = [text(described, "dataset"), *texts(described, "annotations")]
    parts += [f"SHA-256 {digest}"] if digest else []
    return "<br>".join(for_html(part) for part in parts if part)


def environment_section(run: Run) -> Section:
    """How it was called, with what, and what it left."""
    results = run.results
    listed = terms(
        [
            ("called", "<br>".join(_start(start) for start in _starts(run))),
            ("config", for_html(results.config)),
            ("float weights", for_html(results.float_checkpoint or "random")),
            ("environment", for_html(environment_text(results.environment))),
            ("files", _files(run)),
        ]
    )
    return Section("environment", "Command, environment, files", listed)


def _starts(run: Run) -> tuple[Start, ...]:
    return run.record.starts if run.record else ()


def _start(start: Start) -> str:
    command = f"<code>{for_html(start.command)}</code>" if start.command else "from Python"
    notes = [start.time]
    notes += ["resumed"] if start.resumed else []
    notes += [f"{start.processes} processes"] if start.processes > 1 else []
    return f'{command} <span class="dim">{for_html(", ".join(filter(None, notes)))}</span>'


def _files(run: Run) -> str:
    there = [(name, said) for name, said in _FILES.items() if (run.folder / name).exists()]
    if run.config is not None:
        there.insert(0, (run.config.name, "the whole config"))
    return ", ".join(
        f'<a href="{for_html(link_to(run.folder / name, run.folder))}">{for_html(name)}</a> '
        f'<span class="dim">({for_html(said)})</span>'
        for name, said in there
    )


def config_section(run: Run) -> Section:
    """What was quantized, and the whole config as the run kept it."""
    qconfig = run.results.calibration.get("qconfig")
    said = json.dumps(qconfig, indent=1, ensure_ascii=False, default=str)
    parts = [folded("qconfig", preformatted(said, _LONGEST_QCONFIG))]
    if not run.results.config.endswith(".py"):
        said = "There is no config file: Python gave a model, or a config that was no file."
        parts.insert(0, paragraph(said, "note"))
    if run.config is not None:
        parts.append(folded(run.config.name, preformatted(_text(run.config), _LONGEST_CONFIG)))
    return Section("config", "Config", "\n".join(parts))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
