"""Confidence intervals by the paired bootstrap, where runs kept their detections."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from mmptq.errors import MmptqError
from mmptq.evaluation.bootstrap import ResampledMap, bootstrap, load_truth
from mmptq.evaluation.detections import detections_file
from mmptq.evaluation.test_set import digest
from mmptq.leaderboard.boards import Board
from mmptq.leaderboard.cells import Cell, Interval
from mmptq.leaderboard.samples import Sample

KEY = "bbox_mAP"
_ROUNDING = 6e-4  # MMDetection gives three decimals

Track = Callable[[Iterable[int]], Iterable[int]]


def add_intervals(board: Board, samples: int = 1000, seed: int = 0, track: Track = iter) -> int:
    """Give the cells of ``board`` their intervals, where every seed kept its detections.

    What stands in the way of one is written into the board's notes.

    Args:
        board: Changed in place.
        samples: How often images are drawn.
        seed: Of the draws.
        track: Wraps the loop, to show how far it is.

    Returns:
        Number of cells that have one.
    """
    files = [_files(cell) for cell in board.cells]
    if board.key != KEY or not any(files):
        return 0
    truth = _truth(board)
    if truth is None:
        return 0
    models: list[ResampledMap] = []
    members: dict[int, list[int]] = {}  # cell -> its models
    for i, found in enumerate(files):
        checked = [_model(truth, sample, file, board.notes) for sample, file in found]
        if checked and None not in checked:
            members[i] = list(range(len(models), len(models) + len(checked)))
            models += [model for model in checked if model is not None]
    if models:
        drawn = 100 * bootstrap(models, samples, seed, track)
        _set(board, {i: drawn[:, places].mean(1) for i, places in members.items()})
    return len(members)


def _files(cell: Cell) -> list[tuple[Sample, Path]]:
    """Detections of each sample; none where one of them kept none."""
    found = []
    for sample in cell.samples:
        copies = [copy for copy in cell.rows if copy.equals(sample)]
        files = [detections_file(copy.run.folder, copy.row.method) for copy in copies]
        kept = next((file for file in files if file.is_file()), None)
        if kept is None:
            return []
        found.append((sample, kept))
    return found


def _truth(board: Board) -> COCO | None:
    """The annotations, if they can be read and are those of the runs."""
    tests = [sample.run.test for cell in board.cells for sample in cell.rows]
    files = list(dict.fromkeys(tuple(test.get("annotations", ())) for test in tests))
    wanted = board.test.get("sha256")
    found = next((f for f in files if len(f) == 1 and wanted and digest(f) == wanted), None)
    if found is None:
        names = " or ".join(" + ".join(file) for file in files)
        board.notes.append(
            f"No intervals: {names or 'the annotations'} cannot be read from here, or what is "
            "there is not what the runs had; call the command where that path leads to the file."
        )
        return None
    try:
        return load_truth(found[0])
    except MmptqError as error:
        board.notes.append(f"No intervals: {error}")
        return None


def _model(truth: COCO, sample: Sample, file: Path, notes: list[str]) -> ResampledMap | None:
    """Detections, if they are what the row was computed from: a later run may have left its own."""
    try:
        model = ResampledMap(truth, file)
    except MmptqError as error:
        notes.append(f"No interval of {sample.row.method}: {error}")
        return None
    measured, said = model(range(model.num_images)), sample.row.metrics.get(KEY, float("nan"))
    if not abs(measured - said) < _ROUNDING:
        notes.append(
            f"No interval of {sample.row.method}: the boxes in {file} give mAP "
            f"{100 * measured:.1f}, the row says {100 * said:.1f}; they are of another run."
        )
        return None
    return model


def _set(board: Board, draws: dict[int, np.ndarray]) -> None:
    of_cell = {id(board.cells[i]): values for i, values in draws.items()}
    for i, values in draws.items():
        cell = board.cells[i]
        cell.interval = _interval(values)
        reference = of_cell.get(id(cell.float_cell))
        if reference is not None:
            cell.gain = _interval(values - reference)


def _interval(values: np.ndarray) -> Interval:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))
