"""NeuMF at W32A8 on MovieLens-1M, ranges by LAPQ."""

_base_ = ["./_base_/ncf_ml1m.py", "./_base_/w32a8.py", "./_base_/calib/lapq.py"]

model = dict(type="mmptq.QuantRecommender", recommender_type=_base_.model.type)
