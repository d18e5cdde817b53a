"""Split MovieLens' ratings by leave-one-out, in the form that configs/recommendation/ reads.

From ratings.dat of MovieLens-1M (lines user::movie::rating::timestamp) to
OUT/ml-1m.train.rating and OUT/ml-1m.test.negative (see mmptq/datasets/user_items.py). Every rating
is a choice. Each user's last one, by time, is held out, and ranked among 99 movies that the user
did not rate, drawn with --seed. Users and movies are numbered from 0 in the order of their first
line, as in the public split of He et al. 2017 and its pretrained weights, whose drawn movies are
others. Of several last ratings at the same second the later line counts. --compare with the public
split's ml-1m.test.negative says how many users have the same movie held out: all but those with
such ties, if users and movies are numbered alike.

The set: https://grouplens.org/datasets/movielens/1m/. Its licence forbids to pass it on.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from coco_form import ConversionError
from numpy.typing import NDArray

TRAIN, TEST = "ml-1m.train.rating", "ml-1m.test.negative"


def read_ratings(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and items, numbered, and times ``(N, 3)``; and the original ``(users, movies)``.

    Raises:
        ConversionError: The file is missing, empty, or a line is no rating.
    """
    if not path.is_file():
        raise ConversionError(f"{path} is missing: give ratings.dat of MovieLens-1M by --ratings")
    rows = []
    for line, text in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        parts = text.split("::")
        try:
            user, movie, time = int(parts[0]), int(parts[1]), int(parts[3])
        except (ValueError, IndexError):
            raise ConversionError(
                f"{path}, line {line}: {text[:40]!r} is not user::movie::rating::timestamp"
            ) from None
        rows.append((user, movie, time))
    if not rows:
        raise ConversionError(f"{path} is empty")
    found = np.array(rows, dtype=np.int64)
    found[:, 0], found[:, 1] = _numbered(found[:, 0]), _numbered(found[:, 1])
    return found, found.max(axis=0)[:2] + 1


def _numbered(names: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each name's place among all names, in the order in which they first stand."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    place = np.empty_like(first)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse.reshape(-1)]


def last_of_each(ratings: NDArray[np.int64]) -> NDArray[np.int64]:
    """The line of each user's last rating, by user."""
    order = np.lexsort((np.arange(len(ratings)), ratings[:, 2], ratings[:, 0]))
    ends = np.flatnonzero(np.diff(ratings[order, 0], append=-1))
    return order[ends]


def draw_others(
    ratings: NDArray[np.int64], num_items: int, count: int, seed: int
) -> NDArray[np.int64]:
    """``(users, count)`` different items, none of which the user rated.

    Raises:
        ConversionError: A user rated so many that too few are left.
    """
    generator = np.random.default_rng(seed)
    drawn = []
    by_user = np.split(
        ratings[np.argsort(ratings[:, 0], kind="stable"), 1],
        np.cumsum(np.bincount(ratings[:, 0]))[:-1],
    )
    for user, rated in enumerate(by_user):
        free = np.setdiff1d(np.arange(num_items), rated)
        if len(free) < count:
            raise ConversionError(
                f"user {user} left {len(free)} of {num_items} movies unrated, fewer than "
                f"--negatives {count}"
            )
        drawn.append(generator.choice(free, size=count, replace=False))
    return np.stack(drawn)


def held_out_of(path: Path) -> dict[int, int]:
    """User -> held-out item of a test file.

    Raises:
        ConversionError: It is missing, or a line begins with no ``(user,item)``.
    """
    if not path.is_file():
        raise ConversionError(f"{path} is missing: --compare takes the public ml-1m.test.negative")
    found = {}
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        first = re.match(r"\((\d+),(\d+)\)", text)
        if first is None:
            raise ConversionError(f"{path}, line {line}: {text[:40]!r} begins with no (user,item)")
        found[int(first[1])] = int(first[2])
    return found


def comparison(out: Path, public: dict[int, int], name: Path) -> str:
    """One line: how many of ``public`` are held out in ``out``, too."""
    own = held_out_of(out / TEST)
    same = sum(own.get(user) == item for user, item in public.items())
    return f"{same} of {len(public)} users have the same movie held out as in {name}"


def convert(ratings_file: Path, out: Path, negatives: int, seed: int) -> str:
    """Write both files.

    Returns:
        One line of summary.

    Raises:
        ConversionError: The input is not as expected. Nothing has been written then.
        OSError: ``out`` cannot be written.
    """
    ratings, (num_users, num_items) = read_ratings(ratings_file)
    last = last_of_each(ratings)
    others = draw_others(ratings, int(num_items), negatives, seed)
    rest = np.delete(ratings, last, axis=0)
    out.mkdir(parents=True, exist_ok=True)
    np.savetxt(out / TRAIN, rest[np.argsort(rest[:, 0], kind="stable"), :2], "%d", "\t")
    lines = (
        "\t".join([f"({user},{item})", *map(str, drawn)])
        for (user, item), drawn in zip(ratings[last, :2].tolist(), others.tolist(), strict=True)
    )
    (out / TEST).write_text("\n".join(lines) + "\n")
    return f"{num_users} users, {num_items} items, {len(rest)} ratings to train on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=Path, required=True, help="ratings.dat")
    parser.add_argument("--out", type=Path, default=Path("data/ml-1m"))
    parser.add_argument(
        "--negatives", type=int, default=99, help="to rank each held-out movie among"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="the public test lists")
    args = parser.parse_args(arguments)
    try:
        public = held_out_of(args.compare) if args.compare else None
        summary = convert(args.ratings, args.out, args.negatives, args.seed)
    except (ConversionError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {summary}")
    if public is not None:
        print(comparison(args.out, public, args.compare))
    return 0


if __name__ == "__main__":
    sys.exit(main())
