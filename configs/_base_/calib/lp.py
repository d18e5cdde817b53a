"""L_p: the range with the least mean |error|^p.

A larger p clips less: it weighs the few large errors at the range's ends over the many small ones
inside. LAPQ (Nahshan et al. 2019) looks for the best p in [2, 4]; this is the middle. Another one:
``--cfg-options calib_cfg.steps.0.act.p=2.5 calib_cfg.steps.0.weight.p=2.5``.
"""

calib_cfg = dict(
    method="lp",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=3.0),
            act=dict(type="LpNormObserver", p=3.0),
        )
    ],
)
