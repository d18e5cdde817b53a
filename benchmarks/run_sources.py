"""The files of measured cells as sources of a leaderboard: how each names its cells."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

BITS = r"W(?P<w>\d+)A(?P<a>\d+)"
BCCD = {"dataset": "CocoDataset", "annotations": ["data/bccd/annotations/val.json"], "images": 72}
CIFAR10 = {"dataset": "CIFAR10", "annotations": ["data/cifar10"], "images": 10000}
DEEPPCB = {
    "dataset": "CocoDataset",
    "annotations": ["data/deeppcb/annotations/val.json"],
    "images": 500,
}
COCO = {"dataset": "CocoDataset", "annotations": ["data/coco_val416"], "images": 1200}
COCO_SUBSET = {"dataset": "CocoDataset", "annotations": ["data/coco_subset"], "images": 188}
DEMO = {"dataset": "CocoDataset", "annotations": ["demo/annotations/val.json"], "images": 120}
DIGIT_CROPS = {"dataset": "DigitCrops", "annotations": ["digit_crops"], "images": 2000}
BCCD_MODELS = {
    "bccd_retinanet": "RetinaNet-R18",
    "bccd_faster_rcnn": "Faster R-CNN-R18",
    "retinanet_r18": "RetinaNet-R18",
    "faster_rcnn_r18": "Faster R-CNN-R18",
}
DEMO_MODELS = {
    "retinanet": "retinanet_digits",
    "faster_rcnn": "faster_rcnn_digits",
    "demo_retinanet": "retinanet_digits",
    "demo_faster_rcnn": "faster_rcnn_digits",
    "demo_retinanet_swin": "retinanet_swin_digits",
    "demo_dino": "dino_digits",
}
# Names that methods had before benchmarks/methods.py.
METHOD_NAMES = {
    "lp": "l2.4",
    "kld": "kl",
    "gptq": "mmse+gptq",
    "mmse_bias": "mmse+bias",
    "lapq_bitshrink": "lapq+bitshrink",
}
# Neither an objective nor the iterations of others matter to them.
RANGES_ONLY = ("minmax", "mmse", "l2.4", "kl", "aciq")
WITH_LABELS = ("TaskLoss", "CrossEntropy")  # objectives
SEARCH = r"(?P<objective>\w+)(?:/\w+/(?:unit|(?P<group>tensor))/1(?:/0\.5 held out)?)?"


class Source(NamedTuple):
    """Cells of one file that were measured on one test set.

    Args:
        file: Of the cells, in benchmarks/results/, without ``.json``.
        pattern: Of a cell's whole name. Groups: ``model``, ``method``, ``w``, ``a`` (where there is
            none: ``w``; where neither is: the cell's own), ``scope``, ``seed``, ``images`` of the
            calibration, ``setting``: whatever else decides the cell, ``runtime`` that computed it.
        test: The test set, in the form of results.json.
        known: What the pattern's groups leave open.
        models: Names of the float weights where the file has others.
        methods: Names of methods, the same.
        key: Of the cell's metric, in percent; None: they are named as evaluators name them.
        metric: What ``key`` is.
        label: Parts of the method's name, templates over the groups; those whose groups a cell has
            are joined.
    """

    file: str
    pattern: str
    test: dict[str, Any]
    known: Mapping[str, Any]
    models: Mapping[str, str] = {}
    methods: Mapping[str, str] = {}
    key: str | None = None
    metric: str = "bbox_mAP"
    label: tuple[str, ...] = ("{method}",)

    def parts(self, name: str) -> dict[str, Any] | None:
        """What a cell's name says, and what is known; None where it is no cell of this source."""
        found = re.fullmatch(self.pattern, name)
        if found is None:
            return None
        named = {key: value for key, value in found.groupdict().items() if value is not None}
        parts = {"scope": "full", "seed": "0", "setting": "", **self.known, **named}
        if "w" in parts:
            parts.setdefault("a", parts["w"])
        parts["model"] = self.models.get(parts["model"], parts["model"])
        parts["method"] = self.methods.get(parts["method"], parts["method"])
        if parts["method"] in RANGES_ONLY:
            parts |= {"setting": "", "labels": False}
            parts.pop("objective", None)
        elif "objective" in parts:
            parts["labels"] = parts["objective"] in WITH_LABELS and _searches(parts["method"])
        return parts | {"method": "".join(_filled(self.label, parts))}


def _searches(row: str) -> bool:
    """Whether a row of LAPQ's tables has a step that reads the objective."""
    return bool({"lw", "joint"}.intersection(row.split("+")))


def _filled(templates: Iterable[str], parts: Mapping[str, Any]) -> Iterator[str]:
    for template in templates:
        with contextlib.suppress(KeyError):
            yield template.format_map(parts)


def lapq(models: str, mapped: Mapping[str, str], test: dict[str, Any], distorted: str) -> Source:
    """LAPQ's tables on detectors: ``distorted`` is the name's part of the calibration images."""
    return Source(
        "lapq",
        rf"(?P<model>{models})_w4a4_(?:mmse|lapq){distorted}/(?P<scope>\w+)/(?P<w>\d+)/(?P<a>\d+)/"
        r"(?P<images>\d+)\+48 images(?:, seed (?P<seed>\d+))?(?:, in detail)?/"
        rf"(?P<method>[^/]+)/(?P<setting>{SEARCH}(?:/(?P<bounds>.+))?)",
        test,
        {},
        mapped,
        key="metric",
        label=("{method}", " by {objective}", ", each {group}", ", {bounds}")
        + ((" (distorted images)",) if distorted else ()),
    )


def methods(models: str, test: dict[str, Any], images: int = 32) -> Source:
    """What benchmarks/methods.py measured, on so many calibration images by default."""
    return Source(
        "methods",
        rf"(?P<model>{models})(?:_(?P<images_are>distorted))?/(?P<method>[^/]+)/"
        rf"(?:(?P<scope>\w+)-)?{BITS}/seed(?P<seed>\d+)(?:/(?P<images>\d+) images)?",
        test,
        {"images": images},
        {**BCCD_MODELS, **DEMO_MODELS},
        METHOD_NAMES,
        label=("{method}", " ({images_are} images)"),
    )


def default_recipe(models: str, test: dict[str, Any], metric: str = "bbox_mAP") -> Source:
    return Source(
        "default_recipe",
        rf"(?P<model>{models})/{BITS}/(?P<method>[^/]+)/channels(?P<after>\+\w+)?/seed(?P<seed>\d+)",
        test,
        {"images": 32, "labels": False},
        {**BCCD_MODELS, **DEMO_MODELS},
        key="metric",
        metric=metric,
        label=("{method}", "{after}"),
    )


def runtime_map(models: str, test: dict[str, Any], real: bool) -> Source:
    """What runtime_map.py measured: simulated for a runtime's rules, or through the runtime."""
    both = r"(?=(?P<runtime>\w+)(?:/|$))" if real else ""
    # Runs on jittered images are the same cell, if it is not there without.
    end = r"(?:/heads)?(?:/seed(?P<seed>\d+))?(?:/\d+ times)?"
    return Source(
        "runtime_map",
        rf"(?P<model>{models})/{BITS}/{both}(?P<target>\w+){end}",
        test,
        {"images": 32, "method": "default recipe", "labels": False},
        BCCD_MODELS,
        key="real" if real else "simulated",
        label=("{method}", " in {runtime}"),
    )


# In the order of trust: a cell that an earlier source has, too, is that source's.
SOURCES = [
    methods("demo_retinanet|demo_faster_rcnn|demo_retinanet_swin|demo_dino", DEMO),
    methods("bccd_retinanet|bccd_faster_rcnn", BCCD),
    methods("deeppcb_retinanet|deeppcb_faster_rcnn", DEEPPCB),
    methods("yolox_nano", COCO),
    methods("resnet20|resnet56", CIFAR10, 1024),
    methods("vit_long_digits", DIGIT_CROPS, 1024),
    Source(
        "bccd_reconstruction",
        rf"(?P<model>[^/]+)/(?:(?P<scope>\w+)-)?{BITS}/(?P<setting>[^/]+)/"
        r"seed(?P<seed>\d+)/(?P<method>.+)",
        BCCD,
        {"images": 32},
    ),
    Source(
        "bccd_observers",
        r"(?P<model>[^/]+)/(?P<scope>full|backbone_neck)/(?P<w>\d+)/(?P<method>\w+)"
        r"(?:/seed(?P<seed>\d+))?",
        BCCD,
        {"images": 32, "labels": False},
    ),
    Source(
        "cifar10_reconstruction",
        rf"(?P<model>\w+)/{BITS}/(?P<method>[^/]+)/seed(?P<seed>\d+)(?:/(?P<setting>\d+ iters))?",
        CIFAR10,
        {"images": 1024},
    ),
    Source(
        "demo_reconstruction",
        rf"(?P<model>\w+)/{BITS}/(?P<setting>[^/]+)/seed(?P<seed>\d+)/(?P<method>.+)",
        DEMO,
        {"images": 32},
        DEMO_MODELS,
    ),
    lapq("retinanet_r18|faster_rcnn_r18", BCCD_MODELS, BCCD, ""),
    lapq("retinanet_r18|faster_rcnn_r18", BCCD_MODELS, BCCD, r"\+distorted_calibration"),
    lapq("retinanet|faster_rcnn", DEMO_MODELS, DEMO, ""),
    Source(
        "cifar10_lapq",
        r"(?P<model>\w+?)_cifar10_w4a4_lapq/(?P<scope>\w+)/(?P<w>\d+)/(?P<a>\d+)/"
        r"(?P<images>\d+)\+512 images/(?P<method>[^/]+)/(?P<setting>" + SEARCH + r")",
        CIFAR10,
        {},
        key="metric",
        metric="top1",
    ),
    *(
        Source(
            "mixed_precision",
            rf"(?P<model>{model})/(?P<method>\w+)/(?P<setting>{runs})",
            test,
            {"images": 32},
            label=label,
        )
        for model, test in (("RetinaNet-R18|Faster R-CNN-R18", BCCD), ("yolox_nano", COCO))
        for runs, label in (
            (r"uniform_\w+", ("{method}",)),
            (r"(?P<cost>size_mb|gbops)_(?P<like>\w+)", ("mixed+{method}", ", {cost} of {like}")),
        )
    ),
    default_recipe("yolox_nano", COCO),
    default_recipe("bccd_retinanet|bccd_faster_rcnn", BCCD),
    default_recipe("demo_retinanet|demo_faster_rcnn", DEMO),
    default_recipe("resnet20", CIFAR10, "top1"),
    *(
        runtime_map(models, test, real)
        for models, test in (("bccd_retinanet|bccd_faster_rcnn", BCCD), ("yolox_nano", COCO))
        for real in (False, True)
    ),
    *(
        Source(
            "peers",
            r"(?P<model>yolox_nano)_8xb8-300e_coco/yolox_nano_coco/coco_subset/"
            rf"(?P<images>\d+) images, seed (?P<seed>\d+), 1 threads/{method}",
            COCO_SUBSET,
            {"w": 8, "labels": False, **known},
            label=(label,),
        )
        for method, known, label in (
            (r"mmptq-(?P<method>\w+)-w8a8", {}, "{method}"),
            (r"nncf-(?P<method>\w+)", {"runtime": "openvino", "scope": "NNCF's"}, "NNCF {method}"),
            (
                r"ort-(?P<method>\w+)",
                {"runtime": "onnxruntime", "scope": "ONNX Runtime's"},
                "ONNX Runtime {method}",
            ),
        )
    ),
]
