import json
import math
import re
from pathlib import Path

from mmptq.engine.storage.search_log import SearchLog, read_search_log


def write(path: Path, header: dict[str, str], *losses: float) -> None:
    log = SearchLog(path, header)
    for i, loss in enumerate(losses):
        log.add((i / 3.0, 0.0), loss, best=0.0)
    log.close()


def test_values_read_back_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    losses = (1 / 3, math.nan, math.inf, 1e-300)
    write(path, {"a": "b"}, *losses)
    values = SearchLog(path, {"a": "b"}).values
    assert list(values) == [(i / 3.0, 0.0) for i in range(4)]
    assert repr(list(values.values())) == repr(list(losses))


def test_goes_on_where_it_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, {}, 1.0, 2.0, 3.0)
    path.write_text(path.read_text()[:-20])
    write(path, {})
    log = SearchLog(path, {})
    assert list(log.values.values()) == [1.0, 2.0]
    log.add((9.0,), 9.0)
    log.close()
    assert [line.get("loss") for line in read_search_log(path)] == [None, 1.0, 2.0, 9.0]


def test_time_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, {}, 1.0)
    text = re.sub('"seconds": [^}]*', '"seconds": 100.0', path.read_text())
    path.write_text(text)
    assert 100.0 <= SearchLog(path, {}).seconds < 110.0
    assert SearchLog(path, {"other": "start"}).seconds < 10.0


def test_another_search_starts_anew_and_leaves_the_old_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, {"start": "x"}, 1.0)
    log = SearchLog(path, {"start": "y"})
    assert not log.values
    log.close()
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [line.get("search") for line in lines] == [{"start": "x"}, None, {"start": "y"}]
