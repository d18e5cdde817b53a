"""Bit-shrinking that starts from LAPQ's steps in place of MMSE's.

LAPQ chooses steps by the detector's own loss; Bit-shrinking then adjusts weights and steps to each
unit's float output. The published size of Bit-shrinking; a search of one variable a unit.
"""

_base_ = "./bitshrink.py"

_base_.calib_cfg.method = "lapq_bitshrink"
_base_.calib_cfg.steps[:1] = [
    dict(type="LpInterpolation", p_range=(2.0, 4.0), num_points=10),
    dict(type="JointSearch", optimizer="Powell", max_iters=1, group="unit"),
]
