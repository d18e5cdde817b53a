"""Random boxes and detections in COCO's format, for what measures mAP."""

import json

import numpy as np

NUM_IMAGES = 5


def random_set(seed=0, num_images=NUM_IMAGES):
    """Boxes of two categories, and detections of which some are near them."""
    generator = np.random.default_rng(seed)
    boxes, detections = [], []
    for image in range(num_images):
        for _ in range(generator.integers(1, 5)):
            x, y, w, h = generator.uniform(10, 60, 4)
            box = dict(image_id=image, category_id=int(generator.integers(1, 3)))
            boxes.append({**box, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0})
            shift = generator.uniform(0, 12)
            score = float(generator.uniform())
            detections.append({**box, "bbox": [x + shift, y, w, h], "score": score})
    for number, box in enumerate(boxes):
        box["id"] = number + 1
    return boxes, detections


def write(folder, boxes, detections, num_images=NUM_IMAGES, name="model"):
    truth = dict(
        images=[dict(id=i, width=100, height=100) for i in range(num_images)],
        annotations=boxes,
        categories=[dict(id=1, name="a"), dict(id=2, name="b"), dict(id=3, name="absent")],
    )
    (folder / "val.json").write_text(json.dumps(truth))
    (folder / f"{name}.bbox.json").write_text(json.dumps(detections))
    return folder / "val.json", folder / f"{name}.bbox.json"
