"""W4A4 for DETRs: the backbone in 8 bits, and 8-bit activations where values are carried.

That is what 4 bits cost a deformable DETR most (benchmarks/detr_parts.py); sampling offsets,
attention weights, reference points and boxes take them. Of DETRs without deformable attention the
list picks the like: the projections behind attention in the encoder, and to the encoder.
"""

qconfig = dict(
    scope="full",
    weight=dict(num_bits=4),
    act=dict(num_bits=4),
    overrides=[
        dict(role="backbone", weight=dict(num_bits=8), act=dict(num_bits=8)),
        dict(
            pattern=[
                "*.value_proj",
                "*.output_proj",
                "memory_trans_fc",  # with two stages
                "encoder.*.attn.out_proj",
                "decoder.*.cross_attn.attn.out_proj",
            ],
            act=dict(num_bits=8),
        ),
    ],
)
