"""What a run changes in the process, and puts back."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import torch
from mmengine.logging import MMLogger
from mmengine.utils import ManagerMixin
from torch import multiprocessing

from mmptq.adapters.randomness import RandomState


@contextmanager
def restored_state() -> Iterator[None]:
    """Put back what MMEngine's Runner changes for the whole process.

    These are its instances by name (default scope, loggers, visualizers, message hubs), random
    numbers, the environment's variables, torch's and OpenCV's switches and threads, and how
    processes are started. Log files that were opened meanwhile are closed.
    """
    instances = {cls: dict(cls._instance_dict) for cls in _managers(ManagerMixin)}
    random, environment = RandomState(), dict(os.environ)
    cudnn = torch.backends.cudnn
    flags = (cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled())
    threads = (torch.get_num_threads(), cv2.getNumThreads())
    start_method = multiprocessing.get_start_method(allow_none=True)
    try:
        yield
    finally:
        _close_logs(set(MMLogger._instance_dict) - set(instances[MMLogger]))
        for cls in _managers(ManagerMixin):
            cls._instance_dict.clear()
            cls._instance_dict.update(instances.get(cls, {}))
        random.restore()
        os.environ.clear()
        os.environ.update(environment)
        cudnn.benchmark, cudnn.deterministic = flags[:2]
        torch.use_deterministic_algorithms(flags[2])
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
        multiprocessing.set_start_method(start_method, force=True)


def _managers(cls: Any) -> Iterator[Any]:
    """All classes that keep their instances by name."""
    for inner in cls.__subclasses__():
        yield inner
        yield from _managers(inner)


def _close_logs(names: set[str]) -> None:
    for name in names:
        for handler in MMLogger._instance_dict[name].handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()
