"""W32A8: what layers and the product of embeddings read in 8 bit; weights in float."""

qconfig = dict(
    scope="full",
    weight=None,
    act=dict(num_bits=8),
)
