"""Value per turn: what several loops closed of the way from launch to all annotations, by turns of traffic, in one
picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from matplotlib.figure import Figure

from benchmarks.loop_reports import METRICS, NAMED, TITLES, said, share_of_gap
from benchmarks.pictures import QUIET, in_percent, in_powers_of_ten, looks, panels
from schemas.errors import InputError


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


def draw(curves: Sequence[Curve]) -> Figure:
    """A panel for each metric: share of the gap closed against turns (logarithmic), and a legend below.

    Raises:
        InputError: no curve has a point.
    """
    curves = [curve for curve in curves if curve.points]
    if not curves:
        raise InputError("no round in these reports: give files that `sayagain bench loop` wrote")
    turns = [n for curve in curves for n, _ in curve.points]
    shares = [share for curve in curves for _, of in curve.points for share in of.values()]
    low, high = min(0.0, floor(5 * min(shares)) / 5), max(1.0, ceil(5 * max(shares)) / 5)
    with panels(len(METRICS), len(METRICS), width=330, height=290 + 17 * len(curves)) as (figure, axes):
        for panel, metric in zip(axes, METRICS, strict=True):
            in_percent(panel, low=low, high=high)
            in_powers_of_ten(panel, min(turns), max(turns))
            panel.set_title(f"{TITLES[metric]}: % of the gap closed")
            panel.set_xlabel("turns so far")
            for end in (0, 1):
                panel.axhline(end, color=QUIET, linewidth=1)
            for curve, (colour, dash) in zip(curves, looks(len(curves)), strict=True):
                seen, closed = zip(*((n, of[metric]) for n, of in curve.points), strict=True)
                panel.plot(seen, closed, color=colour, linestyle=dash, marker="o", label=curve.name)
        figure.legend(handles=axes[0].get_lines()[2:], loc="outside lower left")
    return figure
