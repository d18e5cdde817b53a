import json

import pytest

from mmptq.leaderboard.dumped_config import test_set_of as read_test_set

CONFIG = """
import os
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type='mmdet.CocoDataset', data_root={root!r}, ann_file='val.json', pipeline=[dict(a=f)]))
"""


def test_the_test_set_is_read_not_run(tmp_path):
    (tmp_path / "val.json").write_text(json.dumps(dict(images=[1, 2])))
    config = tmp_path / "c.py"
    config.write_text(CONFIG.format(root=str(tmp_path)) + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    found = read_test_set(config)
    assert found["dataset"] == "CocoDataset"
    assert found["annotations"] == [str(tmp_path / "val.json")]
    assert found["images"] == 2 and len(found["sha256"]) == 64
    assert not (tmp_path / "ran").exists()


def test_annotations_that_are_gone_are_known_by_their_path(tmp_path):
    config = tmp_path / "c.py"
    config.write_text(CONFIG.format(root="gone"))
    found = read_test_set(config)
    assert found == {"dataset": "CocoDataset", "annotations": ["gone/val.json"], "sha256": None}


@pytest.mark.parametrize(
    "text", ["x = (", "", "test_dataloader = 3", "test_dataloader = dict(dataset=None)", "\x00"]
)
def test_what_is_no_config_tells_nothing(tmp_path, text):
    (tmp_path / "c.py").write_text(text)
    assert read_test_set(tmp_path / "c.py") == {}
