"""A plain MMDetection config, as a user of mmptq has one."""

_base_ = ["mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"]
model = dict(bbox_head=dict(num_classes=20))
