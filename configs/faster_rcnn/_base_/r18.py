"""Float Faster R-CNN R18. MMDetection publishes no weights of it: give yours by --checkpoint."""

_base_ = "mmdet::faster_rcnn/faster-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py"
