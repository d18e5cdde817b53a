"""The tables of docs/howto/deploy.md that have cells."""

from pages.grid import Grid, Vars

RUNTIMES = {"OpenVINO": "openvino", "ONNX Runtime": "onnxruntime"}
DEMO = {"file": "recorded/runtime_map_demo"}
SHAPES = ("320x320", "800x1344")
FIGURES: dict[str, Vars] = {
    "1 thread": {"threads": "1", "text": "{float_ms} -> {ms} ms, {ratio:.1f}x"},
    "2 threads": {"threads": "2", "text": "{ratio:.1f}x"},
    "integers": {"threads": "1", "text": "{integers[0]} of {integers[1]}"},
}

GRIDS = {
    "runtime_map": Grid(
        ("mAP",),
        {
            "demo RetinaNet": {**DEMO, "model": "demo_retinanet"},
            "demo Faster R-CNN": {**DEMO, "model": "demo_faster_rcnn"},
            "RetinaNet-R18, BCCD": {"model": "bccd_retinanet"},
            "Faster R-CNN-R18, BCCD": {"model": "bccd_faster_rcnn"},
            "YOLOX-Nano, COCO at 416": {"model": "yolox_nano"},
        },
        [
            (f"{title} {bits}", {"runtime": runtime, "bits": bits})
            for title, runtime in RUNTIMES.items()
            for bits in ("W8A8", "W4A4")
        ],
        {
            "file": "runtime_map",
            "name": "{model}/{bits}/{runtime}",
            "text": "{simulated:.1f} -> {real:.1f}",
        },
    ),
    "runtime_speed": Grid(
        ("", "input"),
        {
            **{
                (title, shape): {"model": model, "shape": shape}
                for title, model in (
                    ("RetinaNet-R50", "retinanet_r50"),
                    ("Faster R-CNN-R50", "faster_rcnn_r50"),
                )
                for shape in SHAPES
            },
            ("demo RetinaNet", "128x128"): {"model": "retinanet_demo", "shape": "128x128"},
            ("demo Faster R-CNN", "128x128"): {"model": "faster_rcnn_demo", "shape": "128x128"},
            ("YOLOX-Nano", "320x320"): {"model": "yolox_nano", "shape": "320x320"},
        },
        [
            (f"{title}, {heading}" if index == 0 else heading, {"runtime": runtime, **figures})
            for title, runtime in RUNTIMES.items()
            for index, (heading, figures) in enumerate(FIGURES.items())
        ],
        {
            "file": "recorded/runtime_speed",
            "name": "{model}/{shape}/{runtime}/{threads} threads",
        },
    ),
}
