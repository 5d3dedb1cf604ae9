"""Seconds against rows, both logarithmic."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from matplotlib.figure import Figure

from benchmarks.pictures import looks, panels


def plot(speed: list[dict[str, Any]]) -> Figure:
    """One line a method; extrapolated points are hollow.

    Args:
        speed: rows of the benchmark: method, rows, seconds, extrapolated.
    """
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(speed, key=lambda row: row["rows"]):
        lines[row["method"]].append(row)
    sizes = sorted({row["rows"] for row in speed})
    with panels(1, 1, width=640, height=380) as (figure, (axes,)):
        axes.set(xscale="log", yscale="log", xlabel="rows (256 dimensions); hollow: extrapolated", ylabel="seconds")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        for (method, rows), (colour, dash) in zip(lines.items(), looks(len(lines)), strict=True):
            seconds = [max(row["seconds"], 1e-3) for row in rows]
            axes.plot([row["rows"] for row in rows], seconds, color=colour, linestyle=dash, label=method)
            faces = ["white" if row["extrapolated"] else colour for row in rows]
            axes.scatter([row["rows"] for row in rows], seconds, c=faces, edgecolors=colour, zorder=3)
        if lines:
            figure.legend(handles=axes.get_lines(), loc="outside right upper")
    return figure
