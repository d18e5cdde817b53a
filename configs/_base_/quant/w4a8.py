"""W4A8: shows what coarse weights alone cost. Half of W8A8's size on disk."""

qconfig = dict(
    scope="full",  # or 'backbone_neck', 'lapq_paper': see mmptq/models/scopes.py
    weight=dict(num_bits=4),
    act=dict(num_bits=8),
)
