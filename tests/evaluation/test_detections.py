from pathlib import Path

from mmptq.evaluation.detections import detections_file


def test_a_label_becomes_a_file_name():
    assert detections_file("w", "mmse") == Path("w/detections/mmse.bbox.json")
    assert detections_file("w", "a+b 2.5") == Path("w/detections/a+b_2.5.bbox.json")
    assert detections_file("w", "../../x").parent == Path("w/detections")
