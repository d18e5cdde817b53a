"""Quantized models as ONNX files that runtimes execute in integers."""
