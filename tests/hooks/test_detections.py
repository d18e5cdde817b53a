from types import SimpleNamespace

import pytest

from mmptq.errors import MmptqError
from mmptq.hooks import KeepDetectionsHook


def make_runner(work_dir, *metrics):
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=list(metrics)))
    return SimpleNamespace(work_dir=str(work_dir), test_loop=loop, method="mmse")


def coco(prefix=None):
    return SimpleNamespace(outfile_prefix=prefix)


def test_each_method_has_a_file(tmp_path):
    metric, hook = coco(), KeepDetectionsHook()
    runner = make_runner(tmp_path, metric, SimpleNamespace())
    hook.before_test(runner)
    assert metric.outfile_prefix == str(tmp_path / "detections/mmse")
    runner.method = "mmse in openvino"
    hook.before_test(runner)
    assert metric.outfile_prefix == str(tmp_path / "detections/mmse_in_openvino")
    assert (tmp_path / "detections").is_dir()
    hook.after_calibrate(runner, None)


@pytest.mark.parametrize("metrics", [[], [coco(), coco()], [coco("mine")]])
def test_where_it_cannot_it_leaves_everything(tmp_path, metrics):
    hook = KeepDetectionsHook()
    before = [metric.outfile_prefix for metric in metrics]
    hook.before_test(make_runner(tmp_path, *metrics))
    assert [metric.outfile_prefix for metric in metrics] == before
    assert not (tmp_path / "detections").exists()


def test_a_test_that_is_of_no_method_is_left_alone(tmp_path):
    metric = coco()
    runner = make_runner(tmp_path, metric)
    del runner.method
    KeepDetectionsHook().before_test(runner)
    assert metric.outfile_prefix is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MmptqError, match="cannot make .*file/detections"):
        KeepDetectionsHook().before_test(make_runner(tmp_path / "file", coco()))
