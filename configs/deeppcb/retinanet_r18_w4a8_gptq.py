"""RetinaNet R18 at W4A8 on DeepPCB, by GPTQ behind MMSE ranges."""

_base_ = ["./_base_/retinanet_r18_deeppcb.py", "../_base_/quant/w4a8.py", "../_base_/calib/gptq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/deeppcb/retinanet_r18_deeppcb.pth"
