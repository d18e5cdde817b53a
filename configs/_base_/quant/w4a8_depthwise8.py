"""W4A8 for small networks: the weights of depthwise convolutions have 8 bits.

They are few (2 % of YOLOX-Nano's), and 4 bits cost most there: nine or twenty-five weights an
output hardly can make up for each other's errors.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=4),
    act=dict(num_bits=8),
    overrides=[dict(role="depthwise", weight=dict(num_bits=8))],
)
