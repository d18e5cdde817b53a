"""benchmarks/refresh.py: only what differs is written, or named."""

import pytest

from mmptq.errors import MmptqError


@pytest.fixture
def refresh(tmp_path):
    from refresh import refresh

    (tmp_path / "same.md").write_text("1\n")
    (tmp_path / "old.md").write_text("1\n")
    names = ("same.md", "old.md", "sub/new.md")
    wanted = dict(zip((tmp_path / n for n in names), ("1\n", "2\n", "3\n"), strict=True))
    return lambda check: refresh(wanted, tmp_path, check, "make_pages.py", "page")


def test_what_differs_is_written_and_named(refresh, tmp_path, capsys):
    before = (tmp_path / "same.md").stat().st_mtime_ns
    refresh(check=False)
    assert capsys.readouterr().out == "old.md\nsub/new.md\n"
    assert (tmp_path / "old.md").read_text() == "2\n"
    assert (tmp_path / "sub/new.md").read_text() == "3\n"
    assert (tmp_path / "same.md").stat().st_mtime_ns == before
    refresh(check=True)
    assert capsys.readouterr().out == "every page is up to date\n"


def test_a_check_writes_nothing_and_names_the_command(refresh, tmp_path):
    message = r"run python benchmarks/make_pages\.py, these are stale:\nold\.md\nsub/new\.md$"
    with pytest.raises(MmptqError, match=message):
        refresh(check=True)
    assert (tmp_path / "old.md").read_text() == "1\n"
    assert not (tmp_path / "sub").exists()
