"""RetinaNet at W4A4 on the demo set, by QDrop in its fast setting."""

_base_ = ["./_base_/retinanet_digits.py", "../_base_/quant/w4a4.py", "../_base_/calib/qdrop.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "checkpoints/demo/retinanet_digits.pth"
calib_cfg = dict(
    num_images=64,
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
        dict(type="QDrop", preset="fast"),
    ],
)
