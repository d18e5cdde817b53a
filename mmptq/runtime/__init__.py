"""Runs exported models; needs neither torch nor MMDetection."""

from typing import TYPE_CHECKING, Any

from mmptq.runtime.session import RUNTIMES, Session, open_session

if TYPE_CHECKING:
    from mmptq.runtime.detector import Detections, Detector

__all__ = ["RUNTIMES", "Detections", "Detector", "Session", "open_session"]


def __getattr__(name: str) -> Any:
    """Sessions do without OpenCV, which detectors need."""
    if name in ("Detections", "Detector"):
        from mmptq.runtime import detector

        return getattr(detector, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
