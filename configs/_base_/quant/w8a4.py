"""W8A4: shows what coarse activations alone cost. Weights are all but exact."""

qconfig = dict(
    scope="full",  # or 'backbone_neck', 'lapq_paper': see mmptq/models/scopes.py
    weight=dict(num_bits=8),
    act=dict(num_bits=4),
)
