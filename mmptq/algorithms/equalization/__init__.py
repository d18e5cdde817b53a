"""Cross-layer equalization of channels."""

from mmptq.algorithms.equalization.equalization import Equalization

__all__ = ["Equalization"]
