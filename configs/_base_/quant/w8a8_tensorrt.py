"""W8A8 as TensorRT computes it: no zero points, and signed codes everywhere.

Behind a ReLU half of an activation's 256 codes are then never used.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=8),
    act=dict(num_bits=8),
    target="tensorrt",
)
