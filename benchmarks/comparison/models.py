"""The models that methods are compared on. A new one is an entry of ``MODELS``."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from comparison.lookup import find


class Model(NamedTuple):
    """A float model and its data.

    Args:
        title: In tables.
        config: Of the repository, or of a package (``mmdet::``); its ``calib_cfg.units`` are kept.
        checkpoints: Where the float weights may lie: below the repository, or the data folder.
        data: Set that is calibrated on and, without ``test``, tested on; None: it needs no folder.
        test: Set that is tested on.
        metric: Main figure: ``bbox_mAP`` or ``top1``.
        images: Calibration images.
        held_out: Further images of that set, for the distance of the heads' outputs.
        batch_size: Calibration images that go through the network together.
        recipes: Folder of its own recipes; what is not there is configs/_base_/calib's.
    """

    title: str
    config: str
    checkpoints: tuple[str, ...]
    data: str | None = None
    test: str | None = None
    metric: str = "bbox_mAP"
    images: int = 32
    held_out: int = 32
    batch_size: int = 1
    recipes: str | None = None

    @property
    def sets(self) -> tuple[str, ...]:
        """The data sets that it needs."""
        return tuple(name for name in (self.data, self.test) if name)


def _cifar10(depth: int) -> Model:
    return Model(
        f"ResNet-{depth}, CIFAR-10",
        f"configs/classification/resnet{depth}_cifar10_w4a4_mmse.py",
        (f"checkpoints/cifar10/resnet{depth}.pth", f"cifar10/resnet{depth}.pth"),
        data="cifar10",
        metric="top1",
        images=1024,
        held_out=512,
        batch_size=64,
        recipes="configs/classification/_base_/calib",
    )


MODELS = {
    "demo_retinanet": Model(
        "RetinaNet, demo",
        "configs/demo/retinanet_w4a4_mmse.py",
        ("checkpoints/demo/retinanet_digits.pth",),
    ),
    "demo_faster_rcnn": Model(
        "Faster R-CNN, demo",
        "configs/demo/faster_rcnn_w4a4_mmse.py",
        ("checkpoints/demo/faster_rcnn_digits.pth",),
    ),
    "demo_retinanet_swin": Model(
        "RetinaNet-Swin, demo",
        "configs/demo/retinanet_swin_w4a4_mmse.py",
        ("checkpoints/digits/retinanet_swin_digits.pth",),
    ),
    "demo_dino": Model(
        "DINO, digits",
        "configs/demo/dino_w4a4_mmse.py",
        ("checkpoints/digits/dino_digits.pth",),
    ),
    "bccd_retinanet": Model(
        "RetinaNet-R18, BCCD",
        "configs/bccd/retinanet_r18_w4a4_mmse.py",
        ("checkpoints/bccd/retinanet_r18_bccd.pth", "bccd/retinanet_r18_bccd.pth"),
        data="bccd",
    ),
    "bccd_retinanet_distorted": Model(
        "RetinaNet-R18, BCCD, distorted calibration images",
        "configs/bccd/retinanet_r18_w4a4_lapq.py",
        ("checkpoints/bccd/retinanet_r18_bccd.pth", "bccd/retinanet_r18_bccd.pth"),
        data="bccd",
    ),
    "bccd_faster_rcnn": Model(
        "Faster R-CNN-R18, BCCD",
        "configs/bccd/faster_rcnn_r18_w4a4_mmse.py",
        ("checkpoints/bccd/faster_rcnn_r18_bccd.pth", "bccd/faster-rcnn_r18_bccd.pth"),
        data="bccd",
    ),
    "deeppcb_retinanet": Model(
        "RetinaNet-MobileNetV2, DeepPCB",
        "configs/deeppcb/retinanet_mobilenetv2_w4a4_mmse.py",
        ("checkpoints/deeppcb/retinanet_mobilenetv2_deeppcb.pth",),
        data="deeppcb",
    ),
    "deeppcb_faster_rcnn": Model(
        "Faster R-CNN-MobileNetV2, DeepPCB",
        "configs/deeppcb/faster_rcnn_mobilenetv2_w4a4_mmse.py",
        ("checkpoints/deeppcb/faster_rcnn_mobilenetv2_deeppcb.pth",),
        data="deeppcb",
    ),
    "yolox_nano": Model(
        "YOLOX-Nano, COCO",
        "configs/yolox/nano_w4a4.py",
        ("checkpoints/yolox/yolox_nano_coco.pth", "yolox_nano/yolox_nano_coco.pth"),
        data="coco_subset",
        test="coco_val416",
    ),
    "resnet20": _cifar10(20),
    "resnet56": _cifar10(56),
    "vit_long_digits": Model(
        "ViT, digits",
        "configs/classification/vit_long_digits_w4a4_mmse.py",
        ("checkpoints/digits/vit_long_digits.pth",),
        metric="top1",
        images=1024,
        held_out=512,
        batch_size=64,
        recipes="configs/classification/_base_/calib",
    ),
}
# What runs without --models: the others are variants of these.
DEFAULT_MODELS = (
    "demo_retinanet",
    "demo_faster_rcnn",
    "bccd_retinanet",
    "bccd_faster_rcnn",
    "deeppcb_retinanet",
    "deeppcb_faster_rcnn",
    "yolox_nano",
    "resnet20",
)
SETS = tuple(dict.fromkeys(name for model in MODELS.values() for name in model.sets))


def find_models(names: Sequence[str]) -> list[str]:
    """The names, each once.

    Raises:
        ConfigError: One is unknown.
    """
    return [find(name, MODELS, "model") for name in dict.fromkeys(names)]


def main_figure(metrics: Mapping[str, Any], metric: str) -> float:
    """In percent; 0 where it is missing, as a model that detects nothing has none."""
    value = float(metrics.get(metric, 0.0))
    return value if metric == "top1" else 100.0 * value
