"""W8A8 for ONNX Runtime on CPUs without VNNI: weights on 7 bits, stored in 8.

Their instructions add pairs of 8-bit products in 16 bits, which 8-bit weights overflow. Biases are
rounded as the runtime rounds them, and convolutions in front of additions and pools have quantized
outputs. For OpenVINO set ``qconfig.target.type="openvino"``.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=8),
    act=dict(num_bits=8),
    target=dict(type="onnxruntime", reduce_range=True),
)
