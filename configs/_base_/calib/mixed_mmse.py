"""Mixed precision as large as uniform W4, by an integer program; ranges by MMSE.

Other budgets: ``--cfg-options calib_cfg.steps.0.size_mb=W3A4``, a number of MB, ``gbops=...``, or
all of them at once by ``--pareto``.
"""

calib_cfg = dict(
    method="mixed_mmse",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[dict(type="MixedPrecision", size_mb="W4A4")],
)
