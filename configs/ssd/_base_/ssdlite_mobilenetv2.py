"""Float SSDLite with MobileNetV2 and its official weights: box AP 21.3 on COCO val2017.

MMDetection 3.3.0 cannot test an SSD (its head lacks ``loss_cls``), so neither can this: any other
version whose own test script runs the float config will do.
"""

_base_ = "mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py"

load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/ssd/ssdlite_mobilenetv2_scratch_600e_coco/"
    "ssdlite_mobilenetv2_scratch_600e_coco_20210629_110627-974d9307.pth"
)
