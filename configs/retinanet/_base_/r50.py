"""Float RetinaNet R50 and its official weights: box AP 36.5 on COCO val2017 (1x schedule)."""

_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"

load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/"
    "retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth"
)

# QDrop and other published work start from the 2x schedule (box AP 37.4), which fits this config:
# --checkpoint https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_2x_coco/
#   retinanet_r50_fpn_2x_coco_20200131-fdb43119.pth
