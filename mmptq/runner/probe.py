"""What inputs a model takes: its own test pipeline is asked, with images made for it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log

from mmptq.adapters import Adapter, Probe
from mmptq.adapters.randomness import frozen_random
from mmptq.evaluation.profile import inference_pipeline, nominal_shape
from mmptq.registry import type_name

# Of different shape, so that a pipeline that makes all images of one size shows itself.
_SIZES = ((96, 128), (128, 96))

_SHAPES = ("img_shape", "ori_shape", "pad_shape", "batch_input_shape", "scale_factor", "img_path")


def pipeline_probe(cfg: Config, adapter: Adapter) -> Probe:
    """The geometry of the images that ``cfg``'s test pipeline makes.

    A pipeline that cannot read two plain image files tells less: the channels are then those that
    the data preprocessor normalizes.

    Args:
        cfg: With the test data set.
        adapter: Of the model, whose data preprocessor pads.
    """
    if adapter.input_size is not None:
        return Probe(size=adapter.input_size, full_size=adapter.input_size)
    # A classifier knows the size that it was made for; a detector, only small ones to be traced on.
    full_size = nominal_shape(cfg, adapter.trace_size if adapter.batched else None)
    try:
        with tempfile.TemporaryDirectory() as folder, frozen_random():
            seen = [_run(cfg, adapter, Path(folder), size) for size in _SIZES]
    except Exception as error:
        print_log(
            f"the test pipeline does not tell the size of its images ({type(error).__name__}: "
            f"{error}); one of {full_size[0]}x{full_size[1]} is assumed",
            logger="current",
        )
        mean = getattr(getattr(adapter.model, "data_preprocessor", None), "mean", None)
        return Probe(3 if mean is None else len(mean), None, full_size)
    shapes = [tuple(data["inputs"].shape[1:]) for data in seen]
    sample = seen[0]["data_samples"][0]
    size = shapes[0][1:] if shapes[0] == shapes[1] else None
    metainfo = {k: v for k, v in sample.metainfo_items() if k not in _SHAPES}
    return Probe(
        channels=shapes[0][0],
        size=size,
        full_size=size or full_size,
        metainfo=metainfo,
    )


def _run(cfg: Config, adapter: Adapter, folder: Path, size: tuple[int, int]) -> Any:
    """One image of ``size`` through the pipeline and the data preprocessor."""
    path, (height, width) = folder / f"{size[0]}.png", size
    cv2.imwrite(str(path), np.random.randint(0, 256, (height, width, 3), dtype=np.uint8))
    image = {"img_path": str(path), "img_id": 0, "height": height, "width": width, "instances": []}
    steps = [_plain(step) for step in inference_pipeline(cfg) if not _loads_labels(step)]
    return adapter.preprocess(pseudo_collate([Compose(steps)(image)]), with_labels=False)


def _plain(step: Mapping[str, Any]) -> dict[str, Any]:
    """A transform that reads plain files, wherever the images are stored."""
    return {k: v for k, v in step.items() if k not in ("backend_args", "file_client_args")}


def _loads_labels(step: Mapping[str, Any]) -> bool:
    name = type_name(step)
    return "Load" in name and "Image" not in name
