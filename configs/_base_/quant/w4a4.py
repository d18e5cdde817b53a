"""W4A4: 16 levels. Needs good ranges. The first layer and the final predictors stay at 8 bit."""

qconfig = dict(
    scope="full",  # or 'backbone_neck', 'lapq_paper': see mmptq/models/scopes.py
    weight=dict(num_bits=4),
    act=dict(num_bits=4),
)
