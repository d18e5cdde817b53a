"""W6A6: 64 levels. Ranges begin to matter: compare the min-max row with the recipe's."""

qconfig = dict(
    scope="full",  # or 'backbone_neck', 'lapq_paper': see mmptq/models/scopes.py
    weight=dict(num_bits=6),
    act=dict(num_bits=6),
)
