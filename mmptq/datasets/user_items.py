"""Users and the items they chose, from text files of the leave-one-out protocol (He et al. 2017).

Two files, as the protocol's public splits have them, in which users and items are numbered from 0:

- ``*.train.rating``: a line a choice, ``user<TAB>item``; what follows on the line is not read.
- ``*.test.negative``: a line a user, ``(user,item)<TAB>item<TAB>item...``: the item that was held
  out, and items that the user did not choose, against which it is ranked.

A sample is a user with one chosen item and K - 1 others: ``inputs`` ``(K, 2)`` int64 and a
:class:`~mmptq.structures.PairsSample`, in which the chosen item is the first.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.registry import DATASETS
from mmptq.structures import PairsSample

_FIRST = re.compile(r"\((\d+),(\d+)\)")


class UserItems(BaseDataset, ABC):
    """A set of users, each with a chosen item and others.

    Args:
        ann_file: Text file.
        num_users: Users are numbered from 0 to ``num_users - 1``.
        num_items: The same of items.
        users: ``(start, stop)``: only users from ``start`` to before ``stop``; all by default.
        kwargs: As for MMEngine's ``BaseDataset`` (``data_root``, ``indices``, ...).

    Raises:
        ConfigError: An argument that cannot work.
        CalibrationDataError: The file is missing or malformed, has a user or an item beyond their
            number, or none of ``users``.
    """

    def __init__(
        self,
        ann_file: str,
        num_users: int,
        num_items: int,
        users: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        for key, value in (("num_users", num_users), ("num_items", num_items)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"dataset.{key} = {value!r}: must be a whole number from 1")
        self.num_users, self.num_items = num_users, num_items
        self.users = _user_range(users, num_users)
        metainfo = {"num_users": num_users, "num_items": num_items, **kwargs.pop("metainfo", {})}
        super().__init__(ann_file=ann_file, metainfo=metainfo, **kwargs)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """``user`` and ``item``, and as ``img_path`` what names the sample in messages."""
        info = super().get_data_info(idx)
        info["img_path"] = f"{self.ann_file}: user {info['user']}, item {info['item']}"
        return info

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """``inputs`` and ``data_samples`` of one sample."""
        info = self.get_data_info(idx)
        items = np.concatenate(([info["item"]], self.others(info)))
        pairs = torch.tensor(np.stack([np.full_like(items, info["user"]), items], axis=1))
        labels = torch.zeros(len(items))
        labels[0] = 1.0
        sample = PairsSample(metainfo={"img_path": info["img_path"], "user": info["user"]})
        sample.set_field(labels, "gt_labels", field_type="data")
        return self.pipeline({"inputs": pairs.long(), "data_samples": sample})

    @abstractmethod
    def others(self, info: dict[str, Any]) -> NDArray[np.int64]:
        """Items that the user of a sample did not choose."""

    def _check(self, line: int, user: int, items: NDArray[np.int64]) -> None:
        """Fail where a line has a number beyond those of the set."""
        wrong = items[(items < 0) | (items >= self.num_items)]
        for key, values, count in (
            ("user", [user] if not 0 <= user < self.num_users else [], self.num_users),
            ("item", wrong.tolist(), self.num_items),
        ):
            if values:
                raise CalibrationDataError(
                    f"{self.ann_file}, line {line}: {key} {values[0]}, but num_{key}s = {count}; "
                    "they are numbered from 0"
                )

    def _nonempty(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not found:
            raise CalibrationDataError(
                f"{self.ann_file} has no line of a user from {self.users[0]} to before "
                f"{self.users[1]}; check users"
            )
        return found


@DATASETS.register_module()
class RatedItems(UserItems):
    """Choices of a ``*.train.rating`` file, each with items drawn that the user did not choose.

    They are drawn by numpy's global generator: anew whenever a sample is read in training, the same
    ones in every calibration, which seeds it for each sample.

    Args:
        num_negatives: Drawn for each choice, uniformly; 4 in He et al. 2017, section 4.1.
        kwargs: As for :class:`UserItems`.
    """

    def __init__(self, num_negatives: int = 4, **kwargs: Any) -> None:
        self.num_negatives = _negatives(num_negatives)
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """``user`` and ``item`` of every line."""
        rows = self._read()
        for column, count in enumerate((self.num_users, self.num_items)):
            wrong = np.flatnonzero((rows[:, column] < 0) | (rows[:, column] >= count))
            if len(wrong):
                self._check(int(wrong[0]) + 1, int(rows[wrong[0], 0]), rows[wrong[0], 1:])
        self._chosen = np.unique(rows[:, 0] * self.num_items + rows[:, 1])
        counts = np.bincount(self._chosen // self.num_items)
        if counts.max() == self.num_items:
            raise CalibrationDataError(
                f"{self.ann_file}: user {int(counts.argmax())} chose all {self.num_items} items, "
                "and none is left to be drawn; check num_items"
            )
        inside = (rows[:, 0] >= self.users[0]) & (rows[:, 0] < self.users[1])
        return self._nonempty([{"user": u, "item": i} for u, i in rows[inside].tolist()])

    def others(self, info: dict[str, Any]) -> NDArray[np.int64]:
        """``num_negatives`` items that the user never chose."""
        items = np.random.randint(self.num_items, size=self.num_negatives)
        while (taken := self._chose(info["user"], items)).any():
            items[taken] = np.random.randint(self.num_items, size=int(taken.sum()))
        return items

    def _chose(self, user: int, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        keys = user * self.num_items + items
        places = np.searchsorted(self._chosen, keys).clip(max=len(self._chosen) - 1)
        return self._chosen[places] == keys

    def _read(self) -> NDArray[np.int64]:
        try:
            rows = np.loadtxt(self.ann_file, dtype=np.int64, usecols=(0, 1), ndmin=2)
        except OSError as error:
            raise _missing(self.ann_file) from error
        except ValueError as error:
            raise CalibrationDataError(
                f"{self.ann_file}: {error}; a line begins with two whole numbers, of a user and an "
                "item"
            ) from error
        if not len(rows):
            raise CalibrationDataError(f"{self.ann_file} is empty")
        return rows


@DATASETS.register_module()
class CandidateLists(UserItems):
    """Users of a ``*.test.negative`` file, each with the held-out item and those to rank it among.

    Args:
        num_negatives: Cut each list into samples of the held-out item and so many others, which
            gives pairs in the proportion of training; what is left over is dropped. By default the
            whole list is one sample.
        kwargs: As for :class:`UserItems`.
    """

    def __init__(self, num_negatives: int | None = None, **kwargs: Any) -> None:
        self.num_negatives = None if num_negatives is None else _negatives(num_negatives)
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """``user``, ``item`` and ``others`` of every list, or part of one."""
        try:
            text = Path(self.ann_file).read_text(encoding="utf-8")
        except OSError as error:
            raise _missing(self.ann_file) from error
        found: list[dict[str, Any]] = []
        for line, content in enumerate(text.splitlines(), start=1):
            user, item, others = self._parsed(line, content)
            if self.users[0] <= user < self.users[1]:
                size = self.num_negatives or len(others)
                if size > len(others):
                    raise CalibrationDataError(
                        f"{self.ann_file}, line {line}: {len(others)} items beside the held-out "
                        f"one, but num_negatives = {size}"
                    )
                starts = range(0, len(others) - size + 1, size)
                found += [
                    {"user": user, "item": item, "others": others[i : i + size]} for i in starts
                ]
        return self._nonempty(found)

    def others(self, info: dict[str, Any]) -> NDArray[np.int64]:
        """Those of the list."""
        return info["others"]

    def _parsed(self, line: int, content: str) -> tuple[int, int, NDArray[np.int64]]:
        first, *rest = content.split() or [""]
        match = _FIRST.fullmatch(first)
        try:
            items = np.array(rest, dtype=np.int64)
        except ValueError:
            items = np.zeros(0, dtype=np.int64)
        if match is None or not len(items) or len(items) != len(rest):
            raise CalibrationDataError(
                f"{self.ann_file}, line {line}: {content[:40]!r} is no '(user,item)' with whole "
                "numbers of other items behind it"
            )
        user, item = int(match[1]), int(match[2])
        self._check(line, user, np.append(items, item))
        return user, item, items


def _user_range(users: Any, num_users: int) -> tuple[int, int]:
    if users is None:
        return 0, num_users
    numbers = isinstance(users, list | tuple) and len(users) == 2
    if not numbers or not all(isinstance(n, int) for n in users) or not 0 <= users[0] < users[1]:
        raise ConfigError(f"dataset.users = {users!r}: must be (start, stop), 0 <= start < stop")
    return users[0], users[1]


def _negatives(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"dataset.num_negatives = {value!r}: must be a whole number from 1")
    return value


def _missing(path: str) -> CalibrationDataError:
    return CalibrationDataError(
        f"cannot read {path}; check data_root (--data-root). tools/dataset_converters/movielens.py "
        "makes it of MovieLens' ratings"
    )
