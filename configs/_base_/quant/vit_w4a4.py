"""W4A4 for transformers: probabilities in powers of a base, two steps for what GELU gives.

Levels that are not evenly spaced are simulated: such a model is not exported.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=4),
    act=dict(num_bits=4),
    overrides=[
        dict(role="softmax", act=dict(type="LogQuantizer")),
        dict(role="gelu", act=dict(type="TwinQuantizer")),
    ],
)
