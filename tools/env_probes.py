"""What tools/check_env.py tries of each package, and what it needs for that."""

from dataclasses import dataclass

from mmcv_build_log import BUILD_TOOLS
from mmcv_state import TORCH


@dataclass(frozen=True)
class Probe:
    """One thing to try.

    Args:
        name: The row's title.
        module: Import name that is missing where the package is not installed.
        code: Python that uses it, run in a process of its own. Its last printed line is the detail;
            ``WARNING: `` in it makes it a warning.
        package: Requirement that ``pip install`` gets; empty for what the stack decides.
        needs: Probes whose faults explain a fault here.
        required: Whether mmptq works without it.
        purpose: What it is for, shown where it is optional and absent.
        stack: The only stack that needs it; empty for both.
    """

    name: str
    module: str
    code: str
    package: str = ""
    needs: tuple[str, ...] = ()
    required: bool = True
    purpose: str = ""
    stack: str = ""


_TORCH = """
import torch
assert torch.ones(2, 2).mm(torch.ones(2, 2)).numpy().sum() == 8
print(torch.__version__ + ",", torch.get_num_threads(), "threads")
"""
_NUMPY = """
import numpy
assert numpy.ones(3).sum() == 3
print(numpy.__version__)
"""
_GPU = """
import torch
if torch.cuda.is_available():
    assert torch.ones(2, device="cuda").sum().item() == 2
    card = torch.cuda.get_device_properties(0)
    cuda = torch.version.cuda or torch.version.hip
    print(f"{torch.cuda.device_count()} x {card.name}, {card.total_memory / 2**30:.0f} GiB, {cuda}")
else:
    print("none: runs on the CPU")
"""
_OPENCV = """
import cv2, numpy
ok, data = cv2.imencode(".png", numpy.full((4, 4, 3), 7, numpy.uint8))
assert ok and (cv2.imdecode(data, cv2.IMREAD_COLOR) == 7).all()
print(cv2.__version__)
"""
_PYCOCOTOOLS = """
import importlib.metadata, numpy
from pycocotools import mask
from pycocotools.cocoeval import COCOeval
assert mask.area(mask.encode(numpy.asfortranarray(numpy.ones((3, 3), numpy.uint8)))) == 9
print(importlib.metadata.version("pycocotools"))
"""
_SCIPY = """
import scipy, scipy.optimize
assert abs(scipy.optimize.minimize_scalar(lambda x: (x - 1) ** 2).x - 1) < 1e-6
print(scipy.__version__)
"""
# mmcv's operators as the detectors use them: two overlapping boxes, of which NMS keeps the better.
_OPERATORS = """
import mmcv, torch
from mmcv.ops import nms, roi_align
def works(device):
    boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.]], device=device)
    kept = nms(boxes, torch.tensor([0.2, 0.9], device=device), 0.5)[1]
    rois = torch.tensor([[0., 0., 0., 8., 8.]], device=device)
    pooled = roi_align(torch.ones(1, 1, 8, 8, device=device), rois, (2, 2), 1.0, 0, "avg", True)
    return kept.tolist() == [1] and bool((pooled == 1).all())
assert works("cpu"), "nms or roi_align give wrong results"
if not torch.cuda.is_available():
    print(mmcv.__version__ + ", operators compiled: nms and roi_align work on the CPU")
else:
    try:
        gpu = works("cuda")
    except Exception:
        gpu = False
    print(mmcv.__version__ + (", operators compiled: nms, roi_align work on CPU and GPU" if gpu else
          ", WARNING: operators compiled for the CPU alone, detectors will fail on the GPU"))
"""
_MMDET = """
import mmdet
from mmdet.apis import DetInferencer, init_detector
low, high = (getattr(mmdet, f"mmcv_{end}_version", "") for end in ("minimum", "maximum"))
print(mmdet.__version__ + (f" (takes mmcv >= {low}, < {high})" if high else ""))
"""
_MMPTQ = """
import importlib, os, pkgutil, mmptq
for module in pkgutil.iter_modules(mmptq.__path__):
    importlib.import_module("mmptq." + module.name)
print(mmptq.__version__, "from", os.path.dirname(mmptq.__path__[0]))
"""


def _version_of(module: str) -> str:
    return f"import {module}; print(getattr({module}, '__version__', 'installed'))"


_BASE = ("numpy", "torch", "opencv", "setuptools")
PROBES = (
    Probe("numpy", "numpy", _NUMPY, "numpy"),
    Probe("torch", "torch", _TORCH, TORCH, needs=("numpy",)),
    Probe("GPU", "", _GPU, needs=("torch",), required=False),
    Probe("scipy", "scipy", _SCIPY, "scipy", needs=("numpy",)),
    Probe("opencv", "cv2", _OPENCV, "opencv-python", needs=("numpy",)),
    Probe("pycocotools", "pycocotools", _PYCOCOTOOLS, "pycocotools", needs=("numpy",)),
    Probe("rich", "rich", "import rich.table, importlib.metadata as m; print(m.version('rich'))",
          "rich"),
    Probe("setuptools", "pkg_resources",
          "import pkg_resources, setuptools; print(setuptools.__version__, '(has pkg_resources)')",
          BUILD_TOOLS[0], stack="upstream"),
    Probe("mmengine", "mmengine", _version_of("mmengine"), needs=_BASE),
    Probe("mmcv", "mmcv", _OPERATORS, needs=("mmengine", *_BASE)),
    Probe("mmdet", "mmdet", _MMDET, needs=("mmcv", "mmengine", "pycocotools", "scipy", *_BASE)),
    Probe("mmptq", "mmptq", _MMPTQ, needs=("mmdet", "mmcv", "mmengine", "scipy", "rich", *_BASE)),
    Probe("scikit-learn", "sklearn", _version_of("sklearn"), "scikit-learn", required=False,
          purpose="draws the demo's images"),
    Probe("pytest", "pytest", "import pytest, hypothesis; print(pytest.__version__)",
          "pytest hypothesis pytest-xdist",
          required=False, purpose="runs the tests"),
    Probe("torchvision", "torchvision", "import torchvision.ops; print(torchvision.__version__)",
          required=False, purpose="under classifiers of timm and mmpretrain"),
    Probe("timm", "timm", _version_of("timm"), "timm", required=False,
          purpose="quantizes its classifiers", needs=("torchvision", *_BASE)),
    Probe("mmpretrain", "mmpretrain", _version_of("mmpretrain"), "mmpretrain", required=False,
          purpose="quantizes classifiers", needs=("mmcv", "mmengine", "torchvision", *_BASE)),
    Probe("onnx", "onnx", _version_of("onnx"), "onnx", required=False, purpose="exports models"),
    Probe("onnxruntime", "onnxruntime", _version_of("onnxruntime"), "onnxruntime", required=False,
          purpose="runs exported models"),
)  # fmt: skip
