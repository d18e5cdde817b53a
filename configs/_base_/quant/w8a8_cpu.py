"""W8A8 for CPUs without VNNI: weights on 7 bits, stored in 8.

Their instructions add pairs of 8-bit products in 16 bits, which 8-bit weights overflow.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=7),
    act=dict(num_bits=8),
)
