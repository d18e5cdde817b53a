"""Pairs of made files, against what the files say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmptq.datasets import CandidateLists, RatedItems
from mmptq.engine import CalibrationSet
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner.calib_dataset import warn_about_overlap

SIZES = dict(num_users=3, num_items=8)
RATINGS = "0\t5\t4\t978\n0\t1\t3\t979\n2\t0\t5\t980\n"
LISTS = "(0,2)\t3\t4\t6\t7\t0\n(2,7)\t1\t2\t3\t4\t5\n"


def rated(tmp_path: Path, text: str = RATINGS, **changes: Any) -> RatedItems:
    (tmp_path / "train").write_text(text)
    return RatedItems(data_root=str(tmp_path), ann_file="train", **{**SIZES, **changes})


def lists(tmp_path: Path, text: str = LISTS, **changes: Any) -> CandidateLists:
    (tmp_path / "test").write_text(text)
    return CandidateLists(data_root=str(tmp_path), ann_file="test", **{**SIZES, **changes})


def test_choices_with_items_that_the_user_did_not_choose(tmp_path: Path) -> None:
    dataset = rated(tmp_path, num_negatives=5)
    assert len(dataset) == 3
    chosen = {0: {5, 1}, 2: {0}}
    for index, (user, item) in enumerate([(0, 5), (0, 1), (2, 0)]):
        found = dataset[index]
        assert found["inputs"].dtype == torch.int64 and found["inputs"].shape == (6, 2)
        assert found["inputs"][:, 0].tolist() == [user] * 6
        assert int(found["inputs"][0, 1]) == item
        assert not chosen[user] & set(found["inputs"][1:, 1].tolist())
        assert found["data_samples"].gt_labels.tolist() == [1, 0, 0, 0, 0, 0]


def test_every_other_item_is_drawn_about_equally_often(tmp_path: Path) -> None:
    np.random.seed(0)
    dataset = rated(tmp_path, num_negatives=6000)
    counts = np.bincount(dataset[0]["inputs"][1:, 1].numpy(), minlength=8)
    assert counts[[5, 1]].tolist() == [0, 0]
    assert np.abs(np.delete(counts, [5, 1]) - 1000).max() < 150  # 5 standard deviations


def test_draws_follow_numpys_seed(tmp_path: Path) -> None:
    dataset = rated(tmp_path)
    np.random.seed(3)
    first, second = dataset[0]["inputs"], dataset[0]["inputs"]
    np.random.seed(3)
    assert torch.equal(dataset[0]["inputs"], first) and not torch.equal(first, second)


def test_every_calibration_reads_the_same_pairs(tmp_path: Path) -> None:
    dataset, drawn = rated(tmp_path), []
    for seed in (1, 2):
        np.random.seed(seed)
        data = CalibrationSet(dataset, 3, 0, cache_gb=1.0, folder=tmp_path, batch_size=2)
        drawn.append([torch.stack(batch["inputs"]) for _, batch in data])
    assert [len(pairs) for pairs in drawn[0]] == [2, 1]
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


def test_users_of_both_sets_are_seen(tmp_path: Path) -> None:
    """So a calibration on lists that are tested on is warned about."""
    calibration, everybody = lists(tmp_path, num_negatives=2, users=(0, 1)), lists(tmp_path)
    paths = [calibration.get_data_info(i)["img_path"] for i in range(len(calibration))]
    assert warn_about_overlap(paths, everybody) == 2
    assert warn_about_overlap(paths, lists(tmp_path, users=(1, 3))) == 0


def test_whole_lists(tmp_path: Path) -> None:
    dataset = lists(tmp_path)
    assert len(dataset) == 2
    found = dataset[1]
    assert found["inputs"].tolist() == [[2, i] for i in (7, 1, 2, 3, 4, 5)]
    assert found["data_samples"].gt_labels.tolist() == [1, 0, 0, 0, 0, 0]
    assert found["data_samples"].img_path == f"{tmp_path}/test: user 2, item 7"


def test_lists_in_the_proportion_of_training(tmp_path: Path) -> None:
    dataset = lists(tmp_path, num_negatives=2)
    pairs = [dataset[i]["inputs"][:, 1].tolist() for i in range(len(dataset))]
    assert pairs == [[2, 3, 4], [2, 6, 7], [7, 1, 2], [7, 3, 4]]


def test_lists_that_are_too_short(tmp_path: Path) -> None:
    with pytest.raises(CalibrationDataError, match=r"test, line 1: 5 items .*num_negatives = 6"):
        lists(tmp_path, num_negatives=6)


@pytest.mark.parametrize("make", [rated, lists])
def test_some_users(make, tmp_path: Path) -> None:
    dataset = make(tmp_path, users=(1, 3))
    assert {int(dataset[i]["inputs"][0, 0]) for i in range(len(dataset))} == {2}
    with pytest.raises(CalibrationDataError, match="no line of a user from 1 to before 2"):
        make(tmp_path, users=(1, 2))


@pytest.mark.parametrize("users", [(3, 1), (0,), 5, (-1, 2), (0.0, 2)])
def test_users_that_cannot_be(users, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.users = .*0 <= start < stop"):
        lists(tmp_path, users=users)


@pytest.mark.parametrize("make", [rated, lists])
def test_other_arguments_that_cannot_be(make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.num_negatives = 0"):
        make(tmp_path, num_negatives=0)
    with pytest.raises(ConfigError, match=r"dataset\.num_items = '8'"):
        make(tmp_path, num_items="8")


@pytest.mark.parametrize(
    ("make", "text", "words"),
    [
        (rated, "0\t5\n3\t1\n", r"train, line 2: user 3, but num_users = 3"),
        (rated, "0\t5\n2\t8\n", r"train, line 2: item 8, but num_items = 8"),
        (rated, "0\tfive\n", r"train: .*begins with two whole numbers"),
        (rated, "", r"train is empty"),
        (rated, "".join(f"1\t{i}\n" for i in range(8)), r"user 1 chose all 8 items"),
        (lists, "(0,2)\t3\t9\n", r"test, line 1: item 9, but num_items = 8"),
        (lists, "(4,2)\t3\n", r"test, line 1: user 4, but num_users = 3"),
        (lists, "(0,2)\t3\n0\t2\t3\n", r"test, line 2: '0\\t2\\t3' is no '\(user,item\)'"),
        (lists, "(0,2)\n", r"test, line 1: .*other items behind it"),
        (lists, "(0,2)\tx\n", r"test, line 1: .*whole numbers of other items"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_malformed_files(make, text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(CalibrationDataError, match=words):
        make(tmp_path, text)


@pytest.mark.parametrize("kind", [RatedItems, CandidateLists])
def test_missing_file(kind, tmp_path: Path) -> None:
    with pytest.raises(CalibrationDataError, match=r"cannot read .*nowhere; .*movielens\.py"):
        kind(ann_file=str(tmp_path / "nowhere"), **SIZES)
