"""NeuMF at W8A32 on MovieLens-1M, ranges by MMSE."""

_base_ = ["./_base_/ncf_ml1m.py", "./_base_/w8a32.py", "./_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantRecommender", recommender_type=_base_.model.type)
