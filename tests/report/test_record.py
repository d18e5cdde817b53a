import pytest

from mmptq.errors import MmptqError
from mmptq.report.record import Layer, RunRecord, Start
from tests.report_support import record, write_json


def test_it_comes_back_as_it_was(tmp_path):
    layer = Layer("a", "Conv2d", ("first",), 4.0, (4.0, 8.0), 2, 10, 5.5, True)
    saved = RunRecord(
        (Start("now", "python x", True, 2),),
        model="Net",
        boxes=False,
        config="a.py",
        calibration={"images": 3},
        input_shape=(2, 3),
        layers=(layer,),
        products={"neck (FPN)": 7},
        pictures=("a.jpg",),
        blame=("it lost",),
    )
    saved.save(tmp_path)
    assert RunRecord.load(tmp_path) == saved


def test_without_a_file_there_is_none(tmp_path):
    assert RunRecord.load(tmp_path) is None


@pytest.mark.parametrize("key", ["starts", "layers", "products", "calibration"])
def test_what_is_of_another_form_is_named(tmp_path, key):
    write_json(tmp_path / "run.json", record(**{key: 3}))
    with pytest.raises(MmptqError, match=rf"run\.json: {key} "):
        RunRecord.load(tmp_path)


def test_another_version_is_named(tmp_path):
    write_json(tmp_path / "run.json", record(schema=9))
    with pytest.raises(MmptqError, match=r"run\.json: schema = 9: this mmptq reads 1"):
        RunRecord.load(tmp_path)


def test_strange_values_do_not_break_it(tmp_path):
    write_json(tmp_path / "run.json", record(layers=[{"macs": "x", "input_bits": [None]}]))
    (layer,) = RunRecord.load(tmp_path).layers
    assert (layer.name, layer.macs, layer.input_bits, layer.quantized) == ("", 0, (), False)
