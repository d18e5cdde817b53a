"""Float YOLOX-Nano at 416x416. MMDetection publishes no weights for it: give yours by --checkpoint.

YOLOX-Tiny, whose weights it does publish, takes the same recipes:
``tools/quantize.py mmdet::yolox/yolox_tiny_8xb8-300e_coco.py --checkpoint ... --qconfig ...``.
"""

_base_ = "mmdet::yolox/yolox_nano_8xb8-300e_coco.py"
