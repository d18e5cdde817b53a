"""The report that a run ends with: one page that needs no network."""

from mmptq.report.page import write_report
from mmptq.report.record import RunRecord, Start

__all__ = ["RunRecord", "Start", "write_report"]
