"""RetinaNet R50 at W3A3 on COCO, by AdaRound at its published size."""

_base_ = ["./_base_/r50.py", "../_base_/quant/w3a3.py", "../_base_/calib/adaround.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
