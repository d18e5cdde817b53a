"""NeuMF at W8A32 on MovieLens-1M, ranges by LAPQ."""

_base_ = ["./_base_/ncf_ml1m.py", "./_base_/w8a32.py", "./_base_/calib/lapq.py"]

model = dict(type="mmptq.QuantRecommender", recommender_type=_base_.model.type)
