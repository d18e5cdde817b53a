"""What is decided once is given again; all else is computed."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmptq.adapters.decisions import Decisions, Method
from mmptq.adapters.randomness import frozen_random


class Head(nn.Module):
    """Decides by its weight, which a search moves."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 3.0, 2.0]))
        self.calls = 0

    def predict_by_feat(self, factor: float) -> list[InstanceData]:
        self.calls += 1
        return [InstanceData(bboxes=(self.weight * factor).detach())]

    def choose(self) -> tuple[Tensor, Tensor]:
        values, indices = self.weight.topk(2, dim=0)
        return values, indices

    def sample(self) -> tuple[Tensor, float, float]:
        return torch.rand(2), np.random.rand(), random.random()

    def paste(self, mask_preds: Tensor, results_list: list[Any]) -> list[Any]:
        raise AssertionError("nothing comes of it")


def test_results_by_call_and_as_copies() -> None:
    head, decisions = Head(), Decisions()
    methods = [Method("a", head, "predict_by_feat")]
    with decisions.held(methods):
        first = [head.predict_by_feat(1.0), head.predict_by_feat(2.0)]
        first[0][0].pop("bboxes")  # as MMDetection does with proposals
    decisions.close()
    with torch.no_grad():
        head.weight.zero_()
    for _ in range(2):
        with decisions.held(methods):
            again = [head.predict_by_feat(1.0), head.predict_by_feat(2.0)]
            assert [r[0].bboxes.tolist() for r in again] == [[1.0, 3.0, 2.0], [2.0, 6.0, 4.0]]
            again[1][0].bboxes.zero_()
    assert head.calls == 2
    assert head.predict_by_feat(1.0)[0].bboxes.tolist() == [0.0, 0.0, 0.0]


def test_what_was_not_recorded_is_decided_anew() -> None:
    head, decisions = Head(), Decisions()
    methods = [Method("a", head, "predict_by_feat")]
    decisions.close()
    for factor in (1.0, 2.0):
        with decisions.held(methods):
            assert head.predict_by_feat(factor)[0].bboxes[0] == factor


def test_topk_chooses_the_same_items_of_new_values() -> None:
    head, decisions = Head(), Decisions()
    choosing = [Method("queries", head, "choose")]
    with decisions.held([], choosing):
        assert head.choose()[1].tolist() == [1, 2]
    decisions.close()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([9.0, 5.0, 7.0]))
    with decisions.held([], choosing):
        values, indices = head.choose()
        assert (values.tolist(), indices.tolist()) == ([5.0, 7.0], [1, 2])
        values.sum().backward()
    assert head.weight.grad is not None and head.weight.grad.tolist() == [0.0, 1.0, 1.0]
    assert head.choose()[1].tolist() == [0, 2]


def test_an_argument_is_passed_on() -> None:
    head, found = Head(), [InstanceData()]
    with Decisions().held([Method("masks", head, "paste", passes_on="results_list")]):
        assert head.paste(torch.zeros(1), results_list=found) is found
        assert head.paste(torch.zeros(1), found) is found


def test_whoever_draws_next_draws_the_same() -> None:
    """Training draws samples, then points: given the samples, the points must stay the same."""
    head, decisions = Head(), Decisions()
    drawn = []
    for _ in range(2):
        with frozen_random(), decisions.held([Method("a", head, "sample")]):
            samples = head.sample()
            drawn.append((samples, torch.rand(2).tolist(), np.random.rand(), random.random()))
        decisions.close()
    assert str(drawn[0]) == str(drawn[1])


def test_methods_come_back_after_an_error() -> None:
    head = Head()
    try:
        with Decisions().held([Method("a", head, "predict_by_feat")]):
            raise KeyError
    except KeyError:
        pass
    assert "predict_by_feat" not in vars(head)
