"""Recommenders of the project: neural collaborative filtering."""

from mmptq.recommenders.base import PairPreprocessor, Recommender, pairs_loss
from mmptq.recommenders.ncf import GMF, MLP, GMFBranch, MLPBranch, NeuMF

__all__ = [
    "GMF",
    "MLP",
    "GMFBranch",
    "MLPBranch",
    "NeuMF",
    "PairPreprocessor",
    "Recommender",
    "pairs_loss",
]
