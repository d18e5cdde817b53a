"""Pictures of what the float and the quantized models detect."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import Tensor

from mmptq.engine import load_picture
from mmptq.errors import MmptqError
from mmptq.evaluation import ResultRow, Results
from mmptq.evaluation.result_table import NOTHING, format_metric, metric_keys, title
from mmptq.fileio import atomic_write
from mmptq.hooks.drawing import Boxes, ClassStyle, Image, draw_comparison
from mmptq.hooks.harmless import harmless, warn
from mmptq.hooks.kept_boxes import load_boxes, save_boxes
from mmptq.registry import HOOKS

_only_pictures = harmless("no pictures")

KEPT = "stages/pictures.json"  # in the work dir


@HOOKS.register_module()
class DetectionPictureHook(Hook):
    """Draws a few test images with the float model's boxes beside each later method's.

    The images are spread evenly over the test set, always the same ones. Until the end only paths
    and boxes are kept, in ``<work_dir>/stages`` too, so that a resumed run draws what was measured
    before. Saved as ``<work_dir>/pictures/<image>.jpg`` and given to the visualizer's
    backends. A picture that cannot be drawn or saved is reported and skipped: it is not worth a
    run.

    Args:
        num_images: How many.
        score_thr: Detections below this score are not drawn.
    """

    # After the hooks that save: drawing may fail.
    priority = "VERY_LOW"

    def __init__(self, num_images: int = 4, score_thr: float = 0.3) -> None:
        self.num_images = num_images
        self.score_thr = score_thr
        self._chosen: list[str] | None = None
        self._sampler = EvenSampler(num_images)
        self._found: dict[str, dict[str, Boxes]] = {}  # method -> image path -> detections
        self.saved: list[str] = []  # names of the files
        self.failed = False  # only the first failure is told

    @_only_pictures
    def before_calibrate(self, runner: Any) -> None:
        """Of a run that goes on, take up what was kept."""
        if is_main_process() and runner.resume_stages:
            self._chosen, self._found = load_boxes(Path(runner.work_dir, KEPT))

    @_only_pictures
    def before_test(self, runner: Any) -> None:
        """Begin a method's evaluation."""
        method = getattr(runner, "method", None)
        if method is not None and is_main_process():
            self._found[method] = {}
            self._sampler = EvenSampler(self.num_images)

    @_only_pictures
    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Keep the detections on the chosen images; in the first evaluation, choose on the way."""
        found = self._found.get(getattr(runner, "method", None) or "")
        if found is None or self.num_images < 1:
            return
        for sample in outputs or ():
            path = getattr(sample, "img_path", None)
            if path is None or "pred_instances" not in sample:
                continue
            if self._chosen is None:
                if self._sampler.offer(path):
                    found[path] = self._detections(sample)
                    # What the sampler dropped meanwhile is dropped here too.
                    for old in set(found).difference(self._sampler.kept):
                        del found[old]
            elif path in self._chosen:
                found[path] = self._detections(sample)

    @_only_pictures
    def after_test_epoch(self, runner: Any, metrics: Any = None) -> None:
        """After the first evaluation the choice of images stands."""
        found = self._found.get(getattr(runner, "method", None) or "")
        if not found:
            return
        if self._chosen is None:
            self._chosen = self._sampler.choose()
            for path in set(found).difference(self._chosen):
                del found[path]
        save_boxes(Path(runner.work_dir, KEPT), self._chosen, self._found)

    @_only_pictures
    def after_calibrate(self, runner: Any, results: Results) -> None:
        """Draw and save."""
        if not is_main_process() or not self._chosen:
            return
        style = ClassStyle.from_meta(getattr(runner.visualizer, "dataset_meta", None))
        rows = {row.method: row for row in results.rows}
        names = _file_names(self._chosen)
        self.saved = [
            name
            for path, name in zip(self._chosen, names, strict=True)
            if self._make_picture(runner, path, name, rows, style)
        ]
        folder = Path(runner.work_dir, "pictures")
        print_log(
            f"{len(self.saved)} pictures in {folder}: {', '.join(self.saved)}", logger="current"
        )

    def _detections(self, sample: Any) -> Boxes:
        instances = sample.pred_instances
        keep = instances.scores >= self.score_thr
        boxes = instances.bboxes
        boxes = boxes if isinstance(boxes, Tensor) else boxes.tensor
        return Boxes(
            boxes[keep].detach().cpu().float().numpy(),
            instances.scores[keep].detach().cpu().float().numpy(),
            instances.labels[keep].detach().cpu().numpy().astype(np.int64),
        )

    def _make_picture(
        self, runner: Any, path: str, name: str, rows: dict[str, ResultRow], style: ClassStyle
    ) -> bool:
        try:
            image = load_picture(getattr(runner, "test_set", None), path)
            panels = [
                (_caption(method, rows.get(method), boxes), boxes)
                for method in dict.fromkeys([*rows, *self._found])
                if (boxes := self._found.get(method, {}).get(path)) is not None
            ]
            picture = draw_comparison(image, panels, style)
            _save_jpeg(Path(runner.work_dir, "pictures", name), picture)
            runner.visualizer.add_image(Path(name).stem, picture)
        except Exception as error:  # noqa: BLE001  whatever it is, it is only a picture
            warn(f"no picture of {path}", error)
            return False
        return True


class EvenSampler:
    """Chooses about evenly spaced items of a sequence whose length is not known.

    Every ``stride``-th item is kept; when twice as many as wanted are there, every second one is
    dropped and the stride doubles. So at most ``2 * count`` are ever kept.

    Args:
        count: How many to choose.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.kept: list[str] = []
        self._seen = 0
        self._stride = 1

    def offer(self, item: str) -> bool:
        """Whether ``item``, the next of the sequence, is kept for now."""
        position, self._seen = self._seen, self._seen + 1
        if position % self._stride:
            return False
        if len(self.kept) == 2 * self.count:
            self.kept = self.kept[::2]
            self._stride *= 2
            if position % self._stride:
                return False
        self.kept.append(item)
        return True

    def choose(self) -> list[str]:
        """At most ``count`` of the items kept, evenly spaced."""
        count = min(self.count, len(self.kept))
        return [self.kept[i * len(self.kept) // count] for i in range(count)]


def _caption(method: str, row: ResultRow | None, detections: Boxes) -> str:
    text = method if row is None else f"{method} {row.bits}"
    keys = metric_keys([row]) if row is not None else []
    value = format_metric(keys[0], row.metrics[keys[0]]) if row is not None and keys else NOTHING
    accuracy = f"  {title(keys[0])} {value}" if value != NOTHING else ""
    return f"{text}{accuracy}  {len(detections.scores)} boxes"


def _file_names(paths: Iterable[str]) -> list[str]:
    """``<stem>.jpg``; numbered where two images of different folders share a name."""
    names: list[str] = []
    for path in paths:
        stem, name, number = Path(path).stem, f"{Path(path).stem}.jpg", 2
        while name in names:
            name, number = f"{stem}_{number}.jpg", number + 1
        names.append(name)
    return names


def _save_jpeg(path: Path, picture: Image) -> None:
    ok, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not ok:
        raise MmptqError(f"{path}: the picture cannot be encoded as JPEG")
    with atomic_write(path) as file:
        file.write(data.tobytes())
