"""W3A3: 8 levels. Good ranges alone seldom reach it; recipes that tune weights do."""

qconfig = dict(
    scope="full",  # or 'backbone_neck', 'lapq_paper': see mmptq/models/scopes.py
    weight=dict(num_bits=3),
    act=dict(num_bits=3),
)
