"""W4A8: weights, embeddings among them, in 4 bit, those of the last layer in 8.

One step a tensor, as in LAPQ's experiments; ``qconfig.weight.per_channel=True`` gives each row of
an embedding and each output of a layer a step of its own.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=4, per_channel=False),
    act=dict(num_bits=8),
)
