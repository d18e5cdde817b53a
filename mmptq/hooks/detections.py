"""The detections of each row, as files."""

import logging
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log

from mmptq.errors import MmptqError
from mmptq.evaluation.detections import FOLDER, detections_prefix
from mmptq.registry import HOOKS


@HOOKS.register_module()
class KeepDetectionsHook(Hook):
    """Keeps what each method detects on the test images, for confidence intervals later.

    MMDetection's ``CocoMetric`` writes them, to ``<work_dir>/detections/<method>.bbox.json``.
    A config that says where it writes them (``outfile_prefix``) keeps its way; then, and where
    boxes are measured by none or by several of these evaluators, a warning says that nothing is
    kept.
    """

    def __init__(self) -> None:
        self._metric: Any = None
        self._told = False

    def before_test(self, runner: Any) -> None:
        """Say where this method's detections go.

        Raises:
            MmptqError: The folder cannot be made.
        """
        method = getattr(runner, "method", None)
        if method is None or not self._find(runner.test_loop.evaluator):
            return
        prefix = detections_prefix(runner.work_dir, method)
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MmptqError(
                f"cannot make {prefix.parent}: {error.strerror}; choose another folder by "
                "--work-dir, or leave --keep-detections away"
            ) from error
        self._metric.outfile_prefix = str(prefix)

    def after_calibrate(self, runner: Any, results: Any) -> None:
        """Say where the files are."""
        if self._metric is not None:
            print_log(f"detections: {Path(runner.work_dir, FOLDER)}", logger="current")

    def _find(self, evaluator: Any) -> bool:
        """Whether there is one evaluator that can write, found at the first call."""
        if self._metric is None and not self._told:
            able = [m for m in evaluator.metrics if hasattr(m, "outfile_prefix")]
            if len(able) == 1 and able[0].outfile_prefix is None:
                self._metric = able[0]
            else:
                self._told = True
                reason = "outfile_prefix is set" if len(able) == 1 else f"{len(able)} CocoMetrics"
                print_log(
                    f"no detections are kept: test_evaluator: {reason}; one without it is needed",
                    logger="current",
                    level=logging.WARNING,
                )
        return self._metric is not None
