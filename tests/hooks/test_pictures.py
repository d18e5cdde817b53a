from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

from mmptq.evaluation import ResultRow, Results
from mmptq.hooks import DetectionPictureHook, harmless
from mmptq.hooks import pictures as module
from mmptq.hooks.pictures import EvenSampler


@pytest.mark.parametrize("length", [0, 1, 3, 4, 7, 8, 9, 120, 5000])
def test_sampler_is_bounded_and_even(length):
    sampler = EvenSampler(4)
    for i in range(length):
        sampler.offer(str(i))
        assert len(sampler.kept) <= 8
    chosen = [int(item) for item in sampler.choose()]
    assert len(chosen) == min(4, length)
    assert chosen == sorted(set(chosen))
    if length >= 8:
        gaps = np.diff([*chosen, length])
        assert max(gaps) <= 2 * length / 4 and min(gaps[:-1]) >= length / 8


def sample(path, *scores):
    result = DetDataSample(metainfo=dict(img_path=str(path)))
    n = len(scores)
    result.pred_instances = InstanceData(
        bboxes=torch.tensor([[5.0, 5.0, 30.0, 30.0]]).repeat(n, 1),
        scores=torch.tensor(scores),
        labels=torch.zeros(n, dtype=torch.long),
    )
    return result


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / f"{i:03d}.png" for i in range(20)]
    paths[0].parent.mkdir()
    for path in paths:
        cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
    return paths


@pytest.fixture
def runner(tmp_path):
    visualizer = Visualizer(
        vis_backends=[dict(type="LocalVisBackend")], save_dir=str(tmp_path), name=str(tmp_path)
    )
    visualizer.dataset_meta = {"classes": ("digit",)}
    return SimpleNamespace(work_dir=str(tmp_path), visualizer=visualizer)


def evaluate(hook, runner, method, images, *scores):
    runner.method = method
    hook.before_test(runner)
    for i in range(0, len(images), 3):  # batches of three
        batch = [sample(path, *scores) for path in images[i : i + 3]]
        hook.after_test_iter(runner, batch_idx=i, data_batch=None, outputs=batch)
    hook.after_test_epoch(runner, metrics={})


def run(hook, runner, images):
    evaluate(hook, runner, "float", images, 0.9, 0.8, 0.1)
    evaluate(hook, runner, "mmse", images, 0.9)
    rows = [ResultRow("float", "-", 32, 32, {"bbox_mAP": 0.7}), ResultRow("mmse", "full", 4, 4)]
    hook.after_calibrate(runner, Results("c", rows=rows))


def test_pictures_of_images_spread_over_the_set(images, runner, tmp_path):
    hook = DetectionPictureHook(num_images=4)
    run(hook, runner, images)
    saved = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert len(saved) == 4 and saved[-1] >= "012.jpg"
    assert len(list(tmp_path.rglob("vis_image/*.png"))) == 4
    picture = cv2.imread(str(tmp_path / "pictures" / saved[0]))
    assert picture.shape == (320 + 34 + 16, 2 * 480 + 3 * 8, 3)  # 40 x 60 enlarged 8 times
    again = DetectionPictureHook(num_images=4)
    run(again, runner, images)
    assert again._chosen == hook._chosen


def test_only_boxes_above_the_threshold_and_of_chosen_images_are_kept(images, runner):
    hook = DetectionPictureHook(num_images=2, score_thr=0.3)
    run(hook, runner, images)
    assert {method: len(found) for method, found in hook._found.items()} == {"float": 2, "mmse": 2}
    assert all(len(found.scores) == 2 for found in hook._found["float"].values())
    found = next(iter(hook._found["float"].values()))
    assert all(isinstance(x, np.ndarray) for x in (found.boxes, found.scores, found.labels))


def test_captions(images, runner, monkeypatch):
    captions = []
    draw = module.draw_comparison

    def spy(image, panels, style):
        captions.append([text for text, _ in panels])
        return draw(image, panels, style)

    monkeypatch.setattr(module, "draw_comparison", spy)
    run(DetectionPictureHook(num_images=1), runner, images)
    assert captions == [["float W32A32  mAP 70.0  2 boxes", "mmse W4A4  1 boxes"]]


def test_a_missing_image_is_skipped(images, runner, tmp_path):
    hook = DetectionPictureHook(num_images=2)
    images[0].unlink()
    run(hook, runner, images)
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_an_unwritable_folder_does_not_end_the_run(images, runner, tmp_path):
    (tmp_path / "pictures").write_text("a file where the folder should be")
    run(DetectionPictureHook(num_images=1), runner, images)


def test_nothing_happens_under_another_runner(images, tmp_path):
    hook = DetectionPictureHook()
    plain = SimpleNamespace(work_dir=str(tmp_path))
    hook.before_test(plain)
    hook.after_test_iter(plain, 0, None, [sample(images[0], 0.9)])
    hook.after_test_epoch(plain, {})
    hook.after_calibrate(plain, Results("c"))
    assert hook._found == {} and not (tmp_path / "pictures").exists()


def test_results_without_boxes_are_ignored(runner):
    hook = DetectionPictureHook()
    runner.method = "float"
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, None, [DetDataSample(metainfo=dict(img_path="x"))])
    hook.after_test_epoch(runner, {})
    hook.after_calibrate(runner, Results("c"))


def test_images_of_one_name_get_different_files():
    assert module._file_names(["a/x.png", "b/x.png", "b/y.png"]) == ["x.jpg", "x_2.jpg", "y.jpg"]


def test_nothing_that_goes_wrong_ends_the_run(images, runner, monkeypatch):
    said = []
    monkeypatch.setattr(harmless, "print_log", lambda text, **_: said.append(text))
    strange = sample(images[0], 0.9)
    del strange.pred_instances.scores
    hook = DetectionPictureHook()
    runner.method = "float"
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, None, [strange])
    hook.after_test_iter(runner, 1, None, [strange])
    hook._chosen = [images[0]]
    runner.visualizer = None
    hook.after_calibrate(runner, None)
    assert len(said) == 1
    assert said[0].startswith("no pictures: ")


def test_several_sets_of_other_classes(images, runner, tmp_path):
    runner.visualizer.dataset_meta = [{"classes": ("digit",)}, {"classes": ("cell",)}]
    run(DetectionPictureHook(num_images=1), runner, images)
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_a_resumed_run_draws_what_was_measured_before(images, runner, tmp_path):
    runner.resume_stages = False
    killed = DetectionPictureHook(num_images=2)
    killed.before_calibrate(runner)
    evaluate(killed, runner, "float", images, 0.9, 0.8)
    runner.resume_stages = True
    hook = DetectionPictureHook(num_images=2)
    hook.before_calibrate(runner)
    evaluate(hook, runner, "mmse", images, 0.9)
    rows = [ResultRow("float", "-", 32, 32), ResultRow("mmse", "full", 4, 4)]
    hook.after_calibrate(runner, Results("c", rows=rows))
    whole = DetectionPictureHook(num_images=2)
    assert hook.saved == ["000.jpg", "008.jpg"]
    resumed = [(tmp_path / "pictures" / name).read_bytes() for name in hook.saved]
    runner.resume_stages = False
    whole.before_calibrate(runner)
    evaluate(whole, runner, "float", images, 0.9, 0.8)
    evaluate(whole, runner, "mmse", images, 0.9)
    whole.after_calibrate(runner, Results("c", rows=rows))
    assert [(tmp_path / "pictures" / name).read_bytes() for name in whole.saved] == resumed


def test_panels_are_in_the_order_of_the_table(images, runner, monkeypatch):
    captions = []
    draw = module.draw_comparison

    def spy(image, panels, style):
        captions.append([text.split()[0] for text, _ in panels])
        return draw(image, panels, style)

    monkeypatch.setattr(module, "draw_comparison", spy)
    hook = DetectionPictureHook(num_images=1)
    evaluate(hook, runner, "mmse", images, 0.9)
    evaluate(hook, runner, "float", images, 0.9)
    rows = [ResultRow("float", "-", 32, 32), ResultRow("mmse", "full", 4, 4)]
    hook.after_calibrate(runner, Results("c", rows=rows))
    assert captions == [["float", "mmse"]]
