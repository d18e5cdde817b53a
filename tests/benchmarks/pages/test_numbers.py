"""benchmarks/pages/numbers.py: the numbers of a paragraph."""

from pathlib import Path

import pytest

from mmptq.errors import MmptqError


@pytest.fixture
def refreshed():
    from pages import numbers

    def call(text, **figures):
        made = {name: lambda values=values: values for name, values in figures.items()}
        return numbers.refreshed(text, Path("p.md"), made)

    return call


def test_the_numbers_of_the_marked_paragraph_alone_are_made_anew(refreshed):
    text = "of 7.7 points.\n\nfrom 1.0 to 2.0\n(+0.3).<!-- figures: a --> 9.9\n\n8.8\n"
    expected = "of 7.7 points.\n\nfrom 1.5 to 2.5\n(+0.4).<!-- figures: a --> 9.9\n\n8.8\n"
    assert refreshed(text, a=["1.5", "2.5", "+0.4"]) == expected


def test_an_item_of_a_list_ends_where_the_next_begins(refreshed):
    text = "- one of 1.0\n- two of 2.0\n  and 3.0<!-- figures: b -->\n- three of 4.0\n"
    expected = text.replace("2.0", "5.0").replace("3.0", "6.0")
    assert refreshed(text, b=["5.0", "6.0"]) == expected


def test_words_code_and_links_are_no_numbers_and_none_leaves_one(refreshed):
    text = "W4A4 of ResNet-20 in 8-bit, `p=2.4`, [page](a.md#2-bits), 72 images: 3.0x.\n0.5 %"
    marked = f"{text}<!-- figures: a -->\n"
    assert refreshed(marked, a=[None, "0.6"]) == marked.replace("0.5", "0.6")


@pytest.mark.parametrize("values", [["1"], ["1", "2", "3"]])
def test_more_or_fewer_numbers_are_listed(refreshed, values):
    with pytest.raises(MmptqError, match=r"p\.md: <!-- figures: a -->: 2 numbers .*\(3\.1, 4\)"):
        refreshed("3.1 and 4<!-- figures: a -->\n", a=values)


def test_an_unknown_name_is_named_with_those_there_are(refreshed):
    with pytest.raises(MmptqError, match="figures: b -->: no such figures; there are a"):
        refreshed("3<!-- figures: b -->\n", a=["3"])
