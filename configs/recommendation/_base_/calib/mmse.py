"""MMSE on 50 000 pairs: the range with the least mean squared error, searched for each tensor."""

_base_ = "../../../_base_/calib/mmse.py"

calib_cfg = dict(
    num_images=10000,  # choices, each with 4 items that the user did not choose: 50 000 pairs
    batch_size=500,  # of them that go through the network together
)
