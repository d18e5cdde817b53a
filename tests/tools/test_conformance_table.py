import sys
from pathlib import Path

import pytest
from conformance_table import main

RESULTS = """<testsuites><testsuite>
<testcase name="other" time="9.0"/>
<testcase name="a-plan" time="1.5"><properties>
  <property name="family" value="retinanet"/>
  <property name="config" value="mmdet::retinanet/r50.py"/>
  <property name="recipe" value="plan"/>
  <property name="mac_share" value="0.9987"/>
</properties></testcase>
<testcase name="a-lapq" time="2.0"><properties>
  <property name="family" value="retinanet"/>
  <property name="config" value="mmdet::retinanet/r50.py"/>
  <property name="recipe" value="lapq"/>
</properties><failure message="assert"/></testcase>
<testcase name="b-plan" time="1.0"><properties>
  <property name="family" value="lad"/>
  <property name="config" value="mmdet::lad/lad.py"/>
  <property name="recipe" value="plan"/>
</properties></testcase>
<testcase name="b-lapq" time="0.2"><properties>
  <property name="family" value="lad"/>
  <property name="config" value="mmdet::lad/lad.py"/>
  <property name="recipe" value="lapq"/>
  <property name="refused" value="teacher"/>
</properties></testcase>
</testsuite></testsuites>
"""
CLASSIFIERS = """<testsuites><testsuite>
<testcase name="c-plan" time="1.0"><properties>
  <property name="package" value="timm"/>
  <property name="network" value="resnet18"/>
  <property name="recipe" value="plan"/>
  <property name="mac_share" value="1.0"/>
</properties></testcase>
<testcase name="d-plan" time="1.0"><skipped message="no torchvision"/></testcase>
</testsuite></testsuites>
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Path | str) -> None:
    monkeypatch.setattr(sys, "argv", ["conformance_table.py", *map(str, arguments)])
    main()


def test_one_line_a_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, out = tmp_path / "results.xml", tmp_path / "families.md"
    results.write_text(RESULTS)
    run(monkeypatch, results, "--out", out)
    assert [line for line in out.read_text().splitlines() if line.startswith("|")] == [
        "| family | stock config | MACs quantized | plan | lapq | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
        "| retinanet | `retinanet/r50.py` | 99.9% | yes | **no** | 4 |",
        "| lad | `lad/lad.py` |  | yes | refused | 1 |",
    ]


def test_each_table_is_replaced_by_its_own_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, out = tmp_path / "results.xml", tmp_path / "families.md"
    results.write_text(RESULTS)
    run(monkeypatch, results, "--out", out)
    detectors = out.read_text()
    results.write_text(CLASSIFIERS)
    run(monkeypatch, results, "--out", out)
    both = out.read_text()
    assert both.startswith(detectors) and both.count("# Families") == 1
    assert [line for line in both[len(detectors) :].splitlines() if line.startswith("|")] == [
        "| package | network | MACs quantized | plan | seconds |",
        "| --- | --- | --- | --- | --- |",
        "| timm | `resnet18` | 100.0% | yes | 1 |",
    ]
    run(monkeypatch, results, "--out", out)
    assert out.read_text() == both
    results.write_text(RESULTS)
    run(monkeypatch, results, "--out", out)
    assert out.read_text() == both


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no"), ("<testsuites/>", "holds no results of the conformance test")],
)
def test_without_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    if content:
        (tmp_path / "results.xml").write_text(content)
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, tmp_path / "results.xml", "--out", tmp_path / "families.md")
    assert not (tmp_path / "families.md").exists()
