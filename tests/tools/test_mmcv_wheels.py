"""What mmcv's sources are given beside joining before they compile."""

import sys
from pathlib import Path

import mmcv_wheels
import pytest

SETUP = """\
args = {'cxx': ['-std=c++14'], 'nvcc': [cuda_args, '-std=c++14']}
args['cxx'] = ['-Wall', '-std=c++17']
"""


def test_setup_compiles_as_what_torch_asks_for(tmp_path: Path) -> None:
    setup = tmp_path / "setup.py"
    setup.write_text(SETUP)
    mmcv_wheels.raise_standard(setup, 17)
    assert setup.read_text() == SETUP.replace("14", "17")
    mmcv_wheels.raise_standard(setup, 20)
    assert setup.read_text() == SETUP.replace("14", "20").replace("17", "20")


def test_least_standard_is_what_the_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tmp_path / "torch" / "include" / "ATen" / "ATen.h"
    header.parent.mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "torch")
    assert mmcv_wheels.least_standard() == 0
    header.write_text("#error C++20 or later compatible compiler is required to use ATen.\n")
    assert mmcv_wheels.least_standard() == 20
