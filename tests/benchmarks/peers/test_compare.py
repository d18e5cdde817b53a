"""benchmarks/peers/compare.py, without the toolkits that it compares with."""

import json

import pytest
import torch

from benchmarks.peers import compare
from mmptq.errors import ConfigError, MmptqError

METHODS = ("mmptq", "nncf-mixed")


def arguments(tmp_path, *more):
    return compare.parse_args([*more, "--json", str(tmp_path / "peers.json")])


def test_an_unknown_method_is_refused(capsys):
    with pytest.raises(SystemExit):
        compare.parse_args(["--methods", "tensorrt"])
    assert "nncf-mixed" in capsys.readouterr().err


def test_absent_toolkits_are_named_with_the_way_to_install_them(monkeypatch):
    monkeypatch.setattr(compare, "missing_packages", lambda methods: ["nncf", "openvino"])
    with pytest.raises(ConfigError, match=r"nncf, openvino: pip install mmptq\[peers\]"):
        compare.check_installed(METHODS)


def test_own_recipes_need_no_toolkit():
    compare.check_installed(["mmptq"])


def test_a_runtime_that_computes_another_model_is_refused():
    with pytest.raises(ConfigError, match=r"run by openvino reaches bbox_mAP 0.1000"):
        compare.check_same("openvino", {"bbox_mAP": 0.1}, {"bbox_mAP": 0.3}, "bbox_mAP")
    compare.check_same("openvino", {"bbox_mAP": 0.299}, {"bbox_mAP": 0.3}, "bbox_mAP")


def test_the_table_has_what_is_measured(tmp_path, capsys):
    args = arguments(tmp_path, "my.py", "--checkpoint", "w.pth", "--data-root", "data/set/")
    names = [compare.cell_name(args, m) for m in ("float", "mmptq-mmse-w8a8", "ort-minmax")]
    assert names[:2] == ["my/w/set/float", "my/w/set/32 images, seed 0, 1 threads/mmptq-mmse-w8a8"]
    figures = [
        {"bbox_mAP": 0.3},
        {"bbox_mAP": 0.29, "seconds": 2.5, "peak_mb": 700},
        {"bbox_mAP": 0.2, "seconds": 4.0, "peak_mb": 500},
    ]
    args.json.write_text(json.dumps(dict(zip(names, figures, strict=True))))
    compare.print_table(compare.Cells(args.json), args)
    assert capsys.readouterr().out.splitlines()[3:] == [
        "| float, MMDetection | 30.0 | +0.0 |  |  |",
        "| mmptq mmse, w8a8 | 29.0 | -1.0 | 2.5 | 700 |",
        "| ONNX Runtime MinMax, onnxruntime | 20.0 | -10.0 | 4.0 | 500 |",
    ]


def test_options_make_cells_of_their_own(tmp_path):
    plain = arguments(tmp_path, "my.py")
    other = arguments(tmp_path, "my.py", "--cfg-options", "model.test_cfg.score_thr=0.1")
    assert compare.cell_name(plain, "float") != compare.cell_name(other, "float")


def test_a_runtime_is_measured_by_the_configs_evaluator(tmp_path, tiny_project, monkeypatch):
    project = tiny_project("retinanet")
    comparison = make_comparison(tmp_path, project, monkeypatch)
    expected = comparison.evaluate()
    assert expected["bbox_mAP"] > 0.1
    assert comparison.float_through("fake") == expected
    assert len(comparison.images) == 3
    assert comparison.example.shape[:2] == (1, 3)


def make_comparison(tmp_path, project, monkeypatch):
    """With a runtime that runs a copy of the detector, and nothing exported."""

    def export(heads, path, image):
        assert torch.isfinite(image).all()
        torch.save(heads, path)

    def session(path):
        heads = torch.load(path, weights_only=False)
        return lambda image: [v.detach().numpy() for v in heads(torch.from_numpy(image))]

    monkeypatch.setattr(compare.RawHeads, "export", export)
    monkeypatch.setitem(compare.RUNTIMES, "fake", session)
    args = arguments(tmp_path, str(project.float_config), "--checkpoint", str(project.checkpoint))
    args.images, args.work_dir = 3, str(tmp_path / "work")
    return compare.Comparison(args)


def test_a_calibration_that_fails_says_where_its_log_is(tmp_path, tiny_project, monkeypatch):
    comparison = make_comparison(tmp_path, tiny_project("retinanet"), monkeypatch)
    with pytest.raises(MmptqError, match=r"by nncf-mixed ended .*nncf-mixed.log says why"):
        comparison.peer("nncf-mixed")


@pytest.mark.slow
def test_own_recipe_in_a_process_of_its_own(tmp_path, tiny_project, monkeypatch):
    comparison = make_comparison(tmp_path, tiny_project("retinanet"), monkeypatch)
    comparison.folder.mkdir()
    figures = comparison.own(comparison.args.recipes[0])
    assert figures["seconds"] > 0
    assert figures["peak_mb"] > 0
    assert figures["bbox_mAP"] > 0.1
