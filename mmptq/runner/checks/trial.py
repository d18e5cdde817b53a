"""The evaluation, tried on an image of each test set before any long work."""

import contextlib
import copy
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.evaluator import BaseMetric, Evaluator
from pycocotools.coco import COCO

from mmptq.engine import concatenated_datasets, image_path
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.models import QuantModel
from mmptq.runner.checks.float_model import float_model_on, one_line

# A metric may need more than one image; so many are tried before it is held to fail.
_TRIES = (1, 4)
# Where a labelled image is looked for.
_SEARCHED = 50


def try_evaluator(model: QuantModel, evaluator: Evaluator, test_set: BaseDataset) -> None:
    """Predict, process and evaluate, as the test loop does at its end.

    The evaluator is left as it was, and no file that it would write is touched.

    Args:
        model: With the float weights, in eval mode.
        evaluator: Built.
        test_set: Its data set.

    Raises:
        CalibrationDataError: A test image cannot be loaded.
        ConfigError: The float model fails on an image, or the evaluator on what it predicts.
    """
    for count in _TRIES:
        images = _images(test_set, count)
        found = [(batch, _predict(model, batch, image_path(test_set, i))) for i, batch in images]
        try:
            _evaluate(evaluator, test_set, [i for i, _ in images], found)
        except Exception as error:
            if count != _TRIES[-1]:
                continue
            raise ConfigError(
                f"test_evaluator fails on what the float model predicts on "
                f"{image_path(test_set, images[0][0])}: {one_line(error)}; check test_evaluator "
                "(its ann_file must be that of test_dataloader.dataset) and the meta_keys of the "
                "test pipeline's PackDetInputs"
            ) from error
        return


def _images(test_set: BaseDataset, count: int) -> list[tuple[int, Any]]:
    """``(index, collated batch)`` of the first images of each set, those with objects before."""
    indices: list[int] = []
    start = 0
    for size in map(len, concatenated_datasets(test_set)):
        first = range(start, start + min(size, max(_SEARCHED, count)))
        empty = {i: not test_set.get_data_info(i).get("instances", True) for i in first}
        indices += sorted(sorted(first, key=lambda i: (empty[i], i))[:count])  # noqa: B023
        start += size
    return [(i, pseudo_collate([_load(test_set, i)])) for i in indices]


def _load(test_set: BaseDataset, index: int) -> Any:
    try:
        return test_set[index]
    except Exception as error:
        raise CalibrationDataError(
            f"cannot load test image {image_path(test_set, index)}: {one_line(error)}; check the "
            "file, data_prefix (--data-root), and the pipeline of test_dataloader.dataset"
        ) from error


def _predict(model: QuantModel, batch: Any, path: str) -> Any:
    with float_model_on(path), torch.no_grad():
        return model.test_step(copy.deepcopy(batch))


def _evaluate(
    evaluator: Evaluator, test_set: BaseDataset, indices: Sequence[int], found: Sequence[Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder, _silence():
        trial = copy.copy(evaluator)
        images = [_image_id(outputs) for _, outputs in found]
        trial.metrics = [_copy_metric(m, images, folder) for m in evaluator.metrics]
        trial.dataset_meta = _trial_meta(test_set, len(indices))
        for batch, outputs in found:
            trial.process(data_samples=outputs, data_batch=batch)
        trial.evaluate(len(indices))


def _image_id(outputs: Any) -> Any:
    return getattr(outputs[0], "img_id", None)


def _trial_meta(test_set: BaseDataset, images: int) -> Any:
    """The set's metainfo; where it tells how long the single sets are, that of the trial."""
    meta = getattr(test_set, "metainfo", None)
    count = len(concatenated_datasets(test_set))
    ends = [(i + 1) * images // count for i in range(count)]
    for entry in meta if isinstance(meta, list) else [meta or {}]:
        if "cumulative_sizes" in entry:
            entry["cumulative_sizes"] = ends
    return meta


def _copy_metric(metric: BaseMetric, images: Sequence[Any], folder: str) -> BaseMetric:
    """A metric of its own results, which knows only these images and writes only to ``folder``."""
    trial = copy.copy(metric)
    trial.results = []
    written = written_attributes(metric)
    for name, value in vars(metric).items():
        if isinstance(value, COCO):
            setattr(trial, name, _only(value, images))
        elif name in written:
            target = Path(folder, Path(value).name)
            if os.path.isdir(value):
                target.mkdir(exist_ok=True)
            setattr(trial, name, str(target))
    return trial


def written_attributes(metric: BaseMetric) -> list[str]:
    """Attributes that name what a metric writes, as ``outfile_prefix`` does."""
    kinds = ("file", "dir", "path", "prefix")
    return [
        name
        for name, value in vars(metric).items()
        if isinstance(value, str) and "out" in name and any(kind in name for kind in kinds)
    ]


def _only(truth: COCO, images: Sequence[Any]) -> COCO:
    """The annotations of these images; all where none is known."""
    if not set(images) & set(truth.imgs):
        return truth
    part = type(truth)()
    part.dataset = {
        **truth.dataset,
        "images": [truth.imgs[i] for i in images if i in truth.imgs],
        "annotations": [a for i in images for a in copy.deepcopy(truth.imgToAnns.get(i, []))],
    }
    part.createIndex()
    return part


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No table of a trial stands in the log as if it were a result."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
