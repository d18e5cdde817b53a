"""W8A8: 256 levels everywhere. The usual integer width; close to float without any search."""

qconfig = dict(
    scope="full",  # or 'backbone_neck', 'lapq_paper': see mmptq/models/scopes.py
    weight=dict(num_bits=8),
    act=dict(num_bits=8),
)
