"""The look of the benchmarks' pictures: SVG that needs no network and is the same for the same figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import cycle, product
from math import ceil, floor, log10
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

COLOURS = (
    "#2a9d8f", "#e76f51", "#264653", "#e9a820", "#7b5ea7", "#4f86c6", "#9a6b4f", "#6b8e23", "#c2255c", "#868e96",
)  # fmt: skip
QUIET = "#8a979e"  # what is drawn for comparison
_DASHES = ("-", "--", ":")
_DPI = 72  # SVG's points are pixels then
_LOOK: dict[Any, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"], "font.size": 11, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e3e9ec",
    "axes.edgecolor": "#e3e9ec", "axes.spines.top": False, "axes.spines.right": False,
    "text.color": "#1d2b33", "xtick.color": "#4a5a63", "ytick.color": "#4a5a63", "xtick.major.size": 0,
    "ytick.major.size": 0, "lines.linewidth": 2, "lines.markersize": 5, "legend.frameon": False,
    "xtick.major.pad": 7, "figure.constrained_layout.h_pad": 0.12,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "sayagain",
    "text.parse_math": False,
}  # fmt: skip


@contextmanager
def panels(count: int, columns: int, *, width: int, height: int) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with so many panels, row by row; each `width` by `height` pixels with its labels.

    Draw within the context: it holds the look.
    """
    rows = -(-count // columns)
    with rc_context(_LOOK):
        figure = Figure(figsize=(columns * width / _DPI, rows * height / _DPI), dpi=_DPI, layout="constrained")
        yield figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def looks(count: int) -> list[tuple[str, str]]:
    """Colours and dashes for so many lines: no two alike up to thirty."""
    return [(colour, dash) for (dash, colour), _ in zip(cycle(product(_DASHES, COLOURS)), range(count), strict=False)]


def in_percent(axes: Axes, *, low: float = 0.0, high: float = 1.0, step: float = 0.2) -> None:
    """The y axis shows fractions of 1 as percentages, from `low` to `high`."""
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([low + step * n for n in range(round((high - low) / step) + 1)]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=None))


def in_powers_of_ten(axes: Axes, low: float, high: float) -> None:
    """The x axis is logarithmic, from and to the whole powers around `low` and `high`, named 100, 10k, 1M."""
    first, last = floor(log10(max(low, 1))), ceil(log10(max(high, 1)))
    powers = range(first, max(last, first + 1) + 1)
    axes.set_xscale("log")
    axes.set_xlim(10.0 ** powers[0], 10.0 ** powers[-1])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([10.0**power for power in powers], [_short(power) for power in powers])


def _short(power: int) -> str:
    thousands, left = divmod(power, 3)
    return f"{10**left}{('', 'k', 'M', 'G')[thousands]}"


def as_svg(figure: Figure, described: str) -> str:
    """The figure as one SVG element, for a file of its own or a page; `described` is its title, to be read out."""
    text = StringIO()
    with rc_context(_LOOK):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Title": described})
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    width, height = (round(_DPI * inches) for inches in figure.get_size_inches())
    return re.sub(r'width="[^"]+" height="[^"]+"', f'role="img" width="{width}" height="{height}"', drawn, count=1)
