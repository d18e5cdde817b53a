"""Where a run keeps the detections of a row, for those who read and those who write them."""

import os
import re
from pathlib import Path

FOLDER = "detections"


def detections_prefix(work_dir: str | os.PathLike[str], method: str) -> Path:
    """``outfile_prefix`` of MMDetection's ``CocoMetric`` for a row.

    Args:
        work_dir: Of the run.
        method: Label of the row; what may not stand in a file's name becomes ``_``.
    """
    return Path(work_dir, FOLDER, re.sub(r"[^\w.+-]", "_", method))


def detections_file(work_dir: str | os.PathLike[str], method: str) -> Path:
    """The boxes of a row, in COCO's JSON format."""
    prefix = detections_prefix(work_dir, method)
    return prefix.with_name(f"{prefix.name}.bbox.json")
