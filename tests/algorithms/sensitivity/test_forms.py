"""Quantizers at other bit-widths, all of them estimated in the same passes."""

import pytest

from mmptq.algorithms.sensitivity.forms import forms_at, own_forms
from mmptq.algorithms.sensitivity.second_order import second_order
from mmptq.observers import LpNormObserver
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.sensitivity_support import objective

MMSE = LpNormObserver(2.0)


def test_several_bit_widths_share_the_passes(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = make_context("retinanet")
    passes: list[int] = []
    whole = type(context.adapter).head_outputs
    monkeypatch.setattr(
        type(context.adapter), "head_outputs", lambda *args: passes.append(1) or whole(*args)
    )
    names = [*context.model.sites, *context.model.weight_quantizers()]
    forms = forms_at(context, dict.fromkeys(names, (2, 4, 8)), MMSE, MMSE)
    found = second_order(context, objective(context), forms)
    assert len(passes) == len(context.data)
    assert all(q.scheme.num_bits in (4, 8) for q in context.model.sites.values())
    for two, four, eight in found.values():
        assert two.fisher >= four.fisher >= eight.fisher >= 0
        assert two.sqnr <= four.sqnr <= eight.sqnr
    # At the bits that the model has, it is what the model's own quantizers give.
    own = second_order(context, objective(context), own_forms(context.model))
    names = [n for n, q in context.model.sites.items() if q.scheme.num_bits == 4]
    assert names and all(found[name][1] == own[name][0] for name in names)
