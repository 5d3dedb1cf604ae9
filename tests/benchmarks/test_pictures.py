"""The benchmarks' pictures: axes that can be read, and SVG that is the same for the same figures."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from benchmarks.pictures import as_svg, in_percent, in_powers_of_ten, looks, panels

SVG = "{http://www.w3.org/2000/svg}"


def picture(title: str = "up") -> Figure:
    with panels(3, 2, width=200, height=150) as (figure, axes):
        for panel in axes:
            in_percent(panel, low=-0.2)
            in_powers_of_ten(panel, 900, 2_000_000)
            panel.set_title(title)
            panel.plot([1_000, 10_000], [0.1, 0.9])
    return figure


def test_thirty_lines_look_different() -> None:
    assert len(set(looks(30))) == 30
    assert len(looks(31)) == 31


def test_axes_name_percents_and_whole_powers() -> None:
    drawn = ElementTree.fromstring(as_svg(picture(), "a picture"))
    names = [text.text for text in drawn.iter(f"{SVG}text")]
    assert names.count("up") == 3
    for name in ("100", "1k", "10k", "100k", "1M", "10M", "0", "20", "80"):
        assert name in names
    assert (drawn.get("width"), drawn.get("height")) == ("400", "300")


@pytest.mark.parametrize("number", [1, 900, 1_000])
def test_one_number_of_turns_still_has_an_axis(number: int) -> None:
    with panels(1, 1, width=200, height=150) as (_, (axes,)):
        in_powers_of_ten(axes, number, number)
    low, high = axes.get_xlim()
    assert low <= number < high


def test_the_same_figures_are_the_same_bytes() -> None:
    assert as_svg(picture(), "a picture") == as_svg(picture(), "a picture")


def test_text_is_only_text() -> None:
    drawn = ElementTree.fromstring(as_svg(picture("<b>$x_1$ & y"), "<i> & 1"))
    assert [text.text for text in drawn.iter(f"{SVG}text")].count("<b>$x_1$ & y") == 3
    assert drawn.find(f"{SVG}title").text == "<i> & 1"  # type: ignore[union-attr]
