"""Float RetinaNet R18 and its official weights: box AP 31.7 on COCO val2017 (1x schedule)."""

_base_ = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"

load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r18_fpn_1x_coco/"
    "retinanet_r18_fpn_1x_coco_20220407_171055-614fd399.pth"
)
