"""Float RetinaNet R101 and its official weights: box AP 38.5 on COCO val2017 (1x schedule)."""

_base_ = "mmdet::retinanet/retinanet_r101_fpn_1x_coco.py"

load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_1x_coco/"
    "retinanet_r101_fpn_1x_coco_20200130-7a93545f.pth"
)

# QDrop and other published work start from the 2x schedule (box AP 38.9), which fits this config:
# --checkpoint https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/
#   retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth
