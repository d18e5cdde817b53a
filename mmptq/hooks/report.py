"""The page that a run ends with."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mmdet.models.detectors import BaseDetector
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from mmptq.evaluation import Results, model_cost
from mmptq.hooks.harmless import harmless
from mmptq.hooks.pictures import DetectionPictureHook
from mmptq.models import Plan
from mmptq.registry import HOOKS
from mmptq.report import RunRecord, Start, write_report

_only_a_report = harmless("no report")


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``<work_dir>/report.html``, all about the run on one page.

    What no other file of the work dir holds is kept in ``run.json``, so that ``tools/report.py``
    writes the page again. A report that cannot be written is no reason to end a run.
    """

    # After the hooks whose files it shows.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._record = RunRecord(())
        self.failed = False  # only the first failure is told

    @_only_a_report
    def before_calibrate(self, runner: Any) -> None:
        """Record how the run was called, and what is quantized on which images."""
        if not is_main_process():
            return
        before = RunRecord.load(Path(runner.work_dir)) if runner.resume_stages else None
        this = Start(
            datetime.now().astimezone().isoformat(timespec="seconds"),
            runner.command,
            runner.resume_stages,
            get_world_size(),
        )
        wrapper = runner.model.module if is_model_wrapper(runner.model) else runner.model
        record = RunRecord(
            starts=(*(before.starts if before else ()), this),
            model=type(wrapper.model).__name__,
            boxes=isinstance(wrapper.model, BaseDetector),
            config=_dumped_config(runner),
            calibration=runner.calibration_images,
            pictures=before.pictures if before else (),
        )
        self._record = _with_layers(record, runner, runner.plan)
        self._record.save(Path(runner.work_dir))

    @_only_a_report
    def after_calibrate(self, runner: Any, results: Results) -> None:
        """Record the layers again: a step may have chosen other bits than the config's."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._record = _with_layers(self._record, runner, model.plan)

    @_only_a_report
    def after_explain(self, runner: Any, lines: Sequence[str]) -> None:
        """Record which layers a collapse is blamed on."""
        self._record = replace(self._record, blame=tuple(lines))

    @_only_a_report
    def after_run(self, runner: Any) -> None:
        """Write the page."""
        if not is_main_process():
            return
        drawn = [h.saved for h in runner.hooks if isinstance(h, DetectionPictureHook)]
        names = dict.fromkeys(
            [*self._record.pictures, *(name for saved in drawn for name in saved)]
        )
        self._record = replace(self._record, pictures=tuple(names))
        self._record.save(Path(runner.work_dir))
        print_log(f"report: {write_report(runner.work_dir)}", logger="current")

    @_only_a_report
    def after_export(self, runner: Any) -> None:
        """Write it again, with what the exported model came to."""
        if is_main_process():
            write_report(runner.work_dir)


def _with_layers(record: RunRecord, runner: Any, plan: Plan) -> RunRecord:
    roles = {layer.name: layer.roles for layer in plan.layers}
    return record.with_cost(model_cost(runner.profile, plan), roles)


def _dumped_config(runner: Any) -> str:
    """Name under which MMEngine's Runner leaves the config in the work dir."""
    name = runner.cfg.filename
    return Path(name).name if name else f"{runner.timestamp}.py"
