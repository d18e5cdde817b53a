import zipfile

import pytest
from mmengine import fileio

from mmptq.datasets.zip_backend import member_path, members


def test_files_inside_an_archive(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/x.bin", b"\x00\x01")
        archive.writestr("a/b/y.txt", "grün")
        archive.mkdir("empty")
    assert members(path) == {"a/x.bin": 2, "a/b/y.txt": 5}
    assert fileio.get(member_path(path, "a/x.bin")) == b"\x00\x01"
    assert fileio.get_text(member_path(path, "a/b/y.txt")) == "grün"
    with pytest.raises(FileNotFoundError, match="set.zip holds no a/z.txt"):
        fileio.get(member_path(path, "a/z.txt"))
