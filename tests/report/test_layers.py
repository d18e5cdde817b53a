from mmptq.report.layers import layers_section
from mmptq.report.run import read_run
from tests.leaderboard_support import results, row, write_run
from tests.report_support import layer, record, write_json
from tests.webpage.parsed import Page


def page_of(folder, **changes):
    write_run(folder, results(row("mmse", 0.5)))
    write_json(folder / "run.json", record(**changes))
    return Page(layers_section(read_run(folder)).html)


def test_a_line_a_layer_and_sums_by_bits(tmp_path):
    page = page_of(tmp_path)
    texts = page.texts
    first = texts.index("W4A4")
    assert texts[first : first + 4] == ["W4A4", "1", "80.0 %", "0.001"]
    assert {"conv1", "W8A8", "10.0 %", "cls", "float", "5"} <= set(texts)
    assert [a["class"] for a in page.all("tr")[-3:]] == ["", "", "base"]
    assert "1.00 k multiply-adds (MACs) for one image of 320x320" in " ".join(texts)


def test_calls_of_different_bits_and_half_quantized_layers(tmp_path):
    layers = [layer("a", input_bits=[4, 8]), layer("b", weight_bits=32, input_bits=[8])]
    assert {"W4A4/8", "W32A8"} <= set(page_of(tmp_path, layers=layers).texts)


def test_what_is_multiplied_beside_the_layers_counts(tmp_path):
    text = " ".join(page_of(tmp_path, products={"neck (FPN)": 1000}).texts)
    assert "40.0 %" in text and "Multiplied in float beside the layers: neck (FPN) 50.0 %." in text


def test_layers_that_never_ran_are_named_apart(tmp_path):
    page = page_of(tmp_path, layers=[layer("a"), layer("aux", calls=0)])
    assert "Never ran: aux." in page.texts and len(page.all("tr")) == 4


def test_without_a_record_it_says_so(tmp_path):
    write_run(tmp_path, results(row("mmse", 0.5)))
    assert "Not recorded" in layers_section(read_run(tmp_path)).html
