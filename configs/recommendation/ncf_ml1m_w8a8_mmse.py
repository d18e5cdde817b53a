"""NeuMF at W8A8 on MovieLens-1M, ranges by MMSE."""

_base_ = ["./_base_/ncf_ml1m.py", "./_base_/w8a8.py", "./_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantRecommender", recommender_type=_base_.model.type)
