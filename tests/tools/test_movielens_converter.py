"""The MovieLens converter on a made ratings file; what it writes, through the data sets."""

from pathlib import Path

import pytest
from dataset_converters import movielens

from mmptq.datasets import CandidateLists, RatedItems

# User, movie, rating, timestamp. The users' last: 30, 10 (the later of two lines), 50.
RATINGS = """\
7::20::5::100
7::30::3::300
7::10::4::200
2::30::4::500
2::10::1::500
9::50::2::50
"""
ITEMS = {20: 0, 30: 1, 10: 2, 50: 3}  # in the order of their first line


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    path = tmp_path / "ratings.dat"
    path.write_text(RATINGS)
    return path


def convert(ratings: Path, out: Path, *more: str) -> int:
    return movielens.main(["--ratings", str(ratings), "--out", str(out), *more])


def test_split(ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert convert(ratings, tmp_path, "--negatives", "1") == 0
    assert "3 users, 4 items, 3 ratings to train on" in capsys.readouterr().out
    train = (tmp_path / "ml-1m.train.rating").read_text().splitlines()
    assert train == [f"0\t{ITEMS[20]}", f"0\t{ITEMS[10]}", f"1\t{ITEMS[30]}"]
    lists = [
        line.split("\t") for line in (tmp_path / "ml-1m.test.negative").read_text().splitlines()
    ]
    assert [first for first, _ in lists] == ["(0,1)", "(1,2)", "(2,3)"]
    rated = [{0, 1, 2}, {1, 2}, {3}]
    assert not any(int(other) in own for (_, other), own in zip(lists, rated, strict=True))


def test_the_data_sets_read_it(ratings: Path, tmp_path: Path) -> None:
    assert convert(ratings, tmp_path, "--negatives", "1") == 0
    sizes = dict(data_root=str(tmp_path), num_users=3, num_items=4)
    assert len(RatedItems(ann_file=movielens.TRAIN, **sizes)) == 3
    assert CandidateLists(ann_file=movielens.TEST, **sizes)[1]["inputs"][0].tolist() == [1, 2]


def test_comparison_with_other_lists(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    public = tmp_path / "public"
    public.write_text("(0,1)\t3\n(1,1)\t3\n(2,3)\t0\n")
    arguments = ("--negatives", "1", "--compare", str(public))
    assert convert(ratings, tmp_path / "out", *arguments) == 0
    assert f"2 of 3 users have the same movie held out as in {public}" in capsys.readouterr().out


def test_comparison_with_what_is_no_list(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert convert(ratings, tmp_path / "out", "--compare", str(tmp_path / "nowhere")) == 1
    assert convert(ratings, tmp_path / "out", "--compare", str(ratings)) == 1
    errors = capsys.readouterr().err
    assert "nowhere is missing" in errors and "line 1: '7::20::5::100' begins with no" in errors
    assert not (tmp_path / "out").exists()


def test_a_seed_draws_the_same(ratings: Path, tmp_path: Path) -> None:
    texts = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 4)):
        convert(ratings, tmp_path / folder, "--negatives", "1", "--seed", str(seed))
        texts.append((tmp_path / folder / movielens.TEST).read_text())
    assert texts[0] == texts[1] and len(set(texts)) > 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "ratings.dat is missing"),
        ("", "ratings.dat is empty"),
        ("1::2::3::4\n1,2,3,4\n", "line 2: '1,2,3,4' is not user::movie"),
        (RATINGS, "user 0 left 1 of 4 movies unrated, fewer than --negatives 99"),
    ],
)
def test_refused(
    text: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "ratings.dat"
    if text is not None:
        path.write_text(text)
    assert convert(path, tmp_path / "out") == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
