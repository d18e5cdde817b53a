"""W8A8: weights, embeddings among them, and activations in 8 bit.

One step a tensor, as in LAPQ's experiments; ``qconfig.weight.per_channel=True`` gives each row of
an embedding and each output of a layer a step of its own.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=8, per_channel=False),
    act=dict(num_bits=8),
)
