"""mmptq: post-training quantization of MMDetection detectors, down to 4 bits and below."""

__version__ = "0.1.0"
