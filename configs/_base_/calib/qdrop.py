"""QDrop: rounding and steps learned block by block, activations quantized at random.

The published size: hours on a GPU. ``qdrop_fast.py`` takes minutes.
"""

calib_cfg = dict(
    method="qdrop",
    num_images=256,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
        dict(type="QDrop", preset="published"),
    ],
)
