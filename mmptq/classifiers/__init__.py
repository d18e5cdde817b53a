"""Classifiers of the project, and wrappers that make classifiers of other models."""

from mmptq.classifiers.backbone_classifier import BackboneClassifier, LinearHead
from mmptq.classifiers.base import ImageClassifier
from mmptq.classifiers.cifar_resnet import CifarResNet
from mmptq.classifiers.module_classifier import ModuleClassifier
from mmptq.classifiers.named_network import NamedClassifier
from mmptq.classifiers.timm_classifier import TimmClassifier
from mmptq.classifiers.torchvision_classifier import TorchvisionClassifier
from mmptq.classifiers.vit import TransformerBlock, VisionTransformer

__all__ = [
    "BackboneClassifier",
    "CifarResNet",
    "ImageClassifier",
    "LinearHead",
    "ModuleClassifier",
    "NamedClassifier",
    "TimmClassifier",
    "TorchvisionClassifier",
    "TransformerBlock",
    "VisionTransformer",
]
