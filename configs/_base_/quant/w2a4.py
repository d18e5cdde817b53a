"""W2A4: 4 levels per weight. Rounding to nearest collapses here; for recipes that tune weights."""

qconfig = dict(
    scope="full",  # or 'backbone_neck', 'lapq_paper': see mmptq/models/scopes.py
    weight=dict(num_bits=2),
    act=dict(num_bits=4),
)
