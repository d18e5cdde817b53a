"""Runs exported models; needs neither torch nor MMDetection."""

from mmptq.runtime.session import RUNTIMES, Session, open_session

__all__ = ["RUNTIMES", "Session", "open_session"]
