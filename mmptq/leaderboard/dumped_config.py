"""The test set of a run from before ``results.json`` named it, out of the config that it dumped.

The file is read, never run: it comes from elsewhere.
"""

import ast
import json
from pathlib import Path
from typing import Any

from mmptq.evaluation.test_set import digest


def test_set_of(config: Path) -> dict[str, Any]:
    """As :func:`mmptq.evaluation.test_set.describe_test_set`; empty where it cannot be told."""
    dataset = _dataset(config)
    if dataset is None:
        return {}
    kind = str(dataset.get("type", "")).rpartition(".")[2]  # mmdet.CocoDataset
    root = str(dataset.get("data_root") or "")
    annotations = dataset.get("ann_file")
    source = str(Path(root, str(annotations))) if annotations else root
    if not source:
        return {}
    found = {"dataset": kind, "annotations": [source], "sha256": digest([source])}
    images = None if dataset.get("indices") else _count(source)
    return found if images is None else found | {"images": images}


def _dataset(config: Path) -> dict[str, Any] | None:
    try:
        tree = ast.parse(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "test_dataloader":
            loader = _plain(node.value)
            dataset = loader.get("dataset") if isinstance(loader, dict) else None
            return dataset if isinstance(dataset, dict) else None
    return None


def _plain(node: ast.expr) -> Any:
    """Literals and ``dict(...)`` calls as values; all else as ``None``."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
        return {word.arg: _plain(word.value) for word in node.keywords if word.arg}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def _count(annotations: str) -> int | None:
    """Number of images in COCO annotations."""
    try:
        return len(json.loads(Path(annotations).read_text(encoding="utf-8"))["images"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
