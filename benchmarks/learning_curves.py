"""Value per turn: what several loops closed of the way from launch to all annotations, by turns of traffic, in one
picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any

from benchmarks.loop_figure import COLOURS, TITLES
from benchmarks.loop_reports import METRICS, NAMED, said, share_of_gap
from schemas.errors import InputError

_PANEL, _GAP, _TOP, _PLOT, _LEFT, _LINE = 270, 46, 30, 230, 44, 18


@dataclass(frozen=True)
class Curve:
    """One arm of one loop. `points`: turns so far and the share of the gap closed by each metric, after each round."""

    name: str
    points: list[tuple[int, dict[str, float]]]


def curves_of(reports: Sequence[dict[str, Any]]) -> list[Curve]:
    """The curves of reports of `benchmarks.loop.run_loop`, named by what they differ in.

    A metric whose ceiling is not above its launch has no gap; nothing is closed of it.
    """
    differ = [key for key in NAMED if len({report[key] for report in reports}) > 1]
    arms = {arm["name"] for report in reports for arm in report["arms"]}
    found = []
    for report in reports:
        launch, best = report["launch"], report["ceiling"]
        for arm in report["arms"]:
            turns, points = 0, []
            for row in arm["rounds"]:
                turns += row["turns"]
                points.append((turns, {m: share_of_gap(launch[m], row[m], best[m]) for m in METRICS}))
            parts = [said(key, report[key]) for key in differ] + ([arm["name"]] if len(arms) > 1 else [])
            found.append(Curve(", ".join(parts) or arm["name"], points))
    return found


def _short(power: int) -> str:
    """Ten to that power: 100, 10k, 1M."""
    thousands, left = divmod(power, 3)
    return f"{10**left}{' kMG'[thousands].strip()}"


def draw(curves: Sequence[Curve]) -> str:
    """The picture as SVG: a panel for each metric, share of the gap closed against turns (log), and a legend.

    Raises:
        InputError: no curve has a point.
    """
    curves = [curve for curve in curves if curve.points]
    if not curves:
        raise InputError("no round in these reports: give files that `sayagain bench loop` wrote")
    turns = [n for curve in curves for n, _ in curve.points]
    shares = [share for curve in curves for _, of in curve.points for share in of.values()]
    first, last = math.floor(math.log10(max(min(turns), 1))), math.ceil(math.log10(max(*turns, 1)))
    bottom, top = min(0.0, math.floor(5 * min(shares)) / 5), max(1.0, math.ceil(5 * max(shares)) / 5)
    height = _TOP + _PLOT + 44 + _LINE * len(curves)
    width = _LEFT + len(METRICS) * _PANEL + (len(METRICS) - 1) * _GAP + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#1d2b33"><rect width="{width}" height="{height}" fill="white"/>'
    ]
    colours = [(colour, dash) for dash in ("none", "6 3", "2 3") for colour in COLOURS]
    coloured = [(curve, *style) for curve, style in zip(curves, cycle(colours), strict=False)]
    for number, metric in enumerate(METRICS):
        left = _LEFT + number * (_PANEL + _GAP)

        def x(n: float, left: int = left) -> float:
            return left + (math.log10(max(n, 1)) - first) / max(last - first, 1) * _PANEL

        def y(share: float) -> float:
            return _TOP + (top - share) / (top - bottom) * _PLOT

        parts.append(f'<text x="{left}" y="16" font-weight="600">{TITLES[metric]}: share of the gap closed</text>')
        for step in range(round(5 * bottom), round(5 * top) + 1):
            at = y(step / 5)
            parts.append(f'<path d="M{left} {at:.1f}h{_PANEL}" stroke="{"#8a979e" if step in (0, 5) else "#e3e9ec"}"/>')
            parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{20 * step}%</text>')
        for power in range(first, last + 1):
            at = x(10**power)
            parts.append(f'<path d="M{at:.1f} {_TOP}v{_PLOT}" stroke="#e3e9ec"/>')
            name = _short(power) + (" turns" if power == first else "")
            parts.append(f'<text x="{at:.1f}" y="{_TOP + _PLOT + 18}" text-anchor="middle">{name}</text>')
        for curve, colour, dash in coloured:
            places = [(x(n), y(of[metric])) for n, of in curve.points]
            path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
            line = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
            parts.append(f'<polyline points="{path}" {line}/>')
            parts += [f'<circle cx="{a:.1f}" cy="{d:.1f}" r="3" fill="{colour}"/>' for a, d in places]
    for row, (curve, colour, dash) in enumerate(coloured):
        at = _TOP + _PLOT + 46 + _LINE * row
        parts.append(f'<path d="M{_LEFT} {at - 4}h22" stroke="{colour}" stroke-width="3" stroke-dasharray="{dash}"/>')
        parts.append(f'<text x="{_LEFT + 30}" y="{at}">{escape(curve.name)}</text>')
    return "\n".join([*parts, "</svg>\n"])
