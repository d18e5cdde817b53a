"""benchmarks/ncf.py: its lines on a made project, and the interval, by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mmptq.errors import ConfigError
from tests.recommendation_support import ITEMS, USERS, make_pairs_project


def test_interval() -> None:
    import ncf

    hits = np.array([100.0, 0.0, 0.0, -100.0, 100.0, 0.0])
    low, high = stats.norm.interval(0.95, hits.mean(), hits.std(ddof=1) / math.sqrt(6))
    assert ncf.interval(hits) == f"{hits.mean():+.2f} ± {(high - low) / 2:.2f}"


def test_figures_of_ranks() -> None:
    import ncf

    found = ncf.Found(np.array([0, 9, 10, 2]), 0.5)
    assert found.hits.tolist() == [100, 100, 0, 100]
    assert found.gain == pytest.approx(25 * (1 + 1 / math.log2(11) + 0.5))


@pytest.mark.parametrize("bits", ["W8", "w8a8", "W32A32"])
def test_bits_that_cannot_be(bits: str) -> None:
    import ncf

    with pytest.raises(ConfigError, match=f"--bits {bits}: must be"):
        ncf.parse_bits(bits)


def test_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ncf

    make_pairs_project(tmp_path)
    read = ncf.read_config

    def small(*arguments):
        cfg = read(*arguments)
        cfg.num_users = USERS
        for loader in ("calib_dataloader", "test_dataloader"):
            cfg[loader].dataset.update(num_users=USERS, num_items=ITEMS)
        cfg.model.update(num_users=USERS, num_items=ITEMS, gmf_dims=4, mlp_widths=(8, 6, 4))
        cfg.calib_cfg.update(num_images=20, batch_size=10)
        return cfg

    monkeypatch.setattr(ncf, "read_config", small)
    options = ["--data-root", str(tmp_path), "--bits", "W4A8", "--methods", "mmse"]
    args = ncf.parse_args([*options, "--steps", "tensor", "row", "--held-out-users", "0"])
    reference, rescaled, *lines = ncf.rows(args)
    assert reference[:6] == ["NeuMF", "", "W32A32", "float", "100.00", ""]
    assert rescaled[3] == "float, rescaled" and float(rescaled[7]) < float(reference[7])
    assert rescaled[4:7] == reference[4:7]
    assert [line[:4] for line in lines] == [
        ["NeuMF", steps, "W4A8", "MMSE"] for steps in ("tensor", "row")
    ]
    assert all(float(line[4]) == pytest.approx(100 + float(line[5].split()[0])) for line in lines)
